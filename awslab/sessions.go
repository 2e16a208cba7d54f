package awslab

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"
)

// What durationSeconds may be, in a request.
const (
	minDuration = 15 * time.Minute
	maxDuration = 12 * time.Hour
)

// sessionNamePattern, and 2 to 64 characters, is STS's rule.
var sessionNamePattern = regexp.MustCompile(`^[\w+=,.@-]+$`)

func isSessionName(name string) bool {
	return len(name) >= 2 && len(name) <= 64 && sessionNamePattern.MatchString(name)
}

// stsSession is one set of short-lived credentials.
type stsSession struct {
	secretKey string
	token     string
	arn       string // of the assumed role
	id        string // of the assumed role
	expires   time.Time
	revoked   bool
}

// sessionTable is every session of an account, whichever region opened it.
type sessionTable struct {
	mu    sync.Mutex
	byKey map[string]*stsSession
}

// add gives a session a key id of its own.
func (t *sessionTable) add(s *stsSession) (keyID string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	keyID = newKeyID("ASIA")
	t.byKey[keyID] = s
	return keyID
}

// find returns a copy of the session under a key id.
func (t *sessionTable) find(keyID string) (stsSession, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.byKey[keyID]
	if !ok {
		return stsSession{}, false
	}
	return *s, true
}

// createInput is the body of CreateSession. The three ARNs may stand in the
// query instead.
type createInput struct {
	ProfileARN         string            `json:"profileArn"`
	RoleARN            string            `json:"roleArn"`
	TrustAnchorARN     string            `json:"trustAnchorArn"`
	DurationSeconds    *int64            `json:"durationSeconds"`
	RoleSessionName    string            `json:"roleSessionName"`
	SessionName        string            `json:"sessionName"` // deprecated and ignored
	InstanceProperties map[string]string `json:"instanceProperties"`
}

// createSession answers CreateSession: first who asks, then what for.
func (l *Lab) createSession(r *http.Request, body []byte) (*response, error) {
	leaf, err := l.proveIdentity(r, body)
	if err != nil {
		return nil, err
	}
	if contentType := r.Header.Get("Content-Type"); contentType != "application/json" {
		return nil, errValidation("content type %q: must be application/json", contentType)
	}
	var in createInput
	if err := decodeStrict(body, &in); err != nil {
		return nil, err
	}
	if err := in.addQuery(r.URL.RawQuery); err != nil {
		return nil, err
	}
	if err := l.checkARNs(in); err != nil {
		return nil, err
	}
	duration, err := l.duration(in)
	if err != nil {
		return nil, err
	}
	if in.RoleSessionName != "" && !l.opts.AcceptRoleSessionName {
		return nil, errDenied("Access Denied", fmt.Errorf("roleSessionName: the profile does not accept one"))
	}
	if in.RoleSessionName != "" && !isSessionName(in.RoleSessionName) {
		return nil, errValidation("roleSessionName: must be 2 to 64 of the characters that STS allows")
	}
	name := cmp.Or(in.RoleSessionName, hexSerial(leaf.SerialNumber))
	return jsonResponse(http.StatusCreated, "application/json", l.openSession(leaf, name, duration)), nil
}

// addQuery takes over the members that travel in the query.
func (in *createInput) addQuery(raw string) error {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return errValidation("query: malformed")
	}
	members := map[string]*string{"profileArn": &in.ProfileARN, "roleArn": &in.RoleARN, "trustAnchorArn": &in.TrustAnchorARN}
	for name, list := range values {
		member, ok := members[name]
		if !ok || len(list) != 1 {
			return errValidation("query: %q is not known, or given twice", name)
		}
		if *member != "" && *member != list[0] {
			return errValidation("%s: query and body differ", name)
		}
		*member = list[0]
	}
	return nil
}

func (l *Lab) checkARNs(in createInput) error {
	for _, arn := range []struct{ member, value, form string }{
		{"trustAnchorArn", in.TrustAnchorARN, `^arn:aws[a-z-]*:rolesanywhere:[a-z0-9-]+:\d{12}:trust-anchor/[\w-]+$`},
		{"profileArn", in.ProfileARN, `^arn:aws[a-z-]*:rolesanywhere:[a-z0-9-]+:\d{12}:profile/[\w-]+$`},
		{"roleArn", in.RoleARN, `^arn:aws[a-z-]*:iam::\d{12}:role(/[\w+=,.@-]+)+$`},
	} {
		if ok, _ := regexp.MatchString(arn.form, arn.value); !ok {
			return errValidation("%s: missing, or not an ARN of that kind", arn.member)
		}
	}
	notFound := &apiError{status: http.StatusNotFound, code: "ResourceNotFoundException"}
	switch {
	case in.TrustAnchorARN != l.setup.TrustAnchor:
		notFound.message = "Trust anchor not found"
		return notFound
	case in.ProfileARN != l.setup.Profile:
		notFound.message = "Profile not found"
		return notFound
	case in.RoleARN != l.setup.Role:
		return errDenied("Unable to assume role for "+in.RoleARN, fmt.Errorf("roleArn: not a role of the profile"))
	}
	return nil
}

// duration is the shorter of the request's and the profile's. AWS refuses
// one over the role's own limit rather than cut it.
func (l *Lab) duration(in createInput) (time.Duration, error) {
	d := l.opts.SessionDuration
	if in.DurationSeconds != nil {
		seconds := *in.DurationSeconds
		if seconds < int64(minDuration/time.Second) || seconds > int64(maxDuration/time.Second) {
			return 0, errValidation("durationSeconds: %d is not within 900 and 43200", seconds)
		}
		d = min(d, time.Duration(seconds)*time.Second)
	}
	if d > l.opts.MaxSessionDuration {
		return 0, errDenied("Unable to assume role for "+l.setup.Role+": the requested duration exceeds its MaxSessionDuration", nil)
	}
	return d, nil
}

// openSession makes the credentials and the answer that carries them.
func (l *Lab) openSession(leaf *x509.Certificate, name string, d time.Duration) any {
	s := &stsSession{
		secretKey: newSecretKey(),
		token:     newToken(),
		arn:       "arn:aws:sts::" + l.opts.Account + ":assumed-role/" + l.opts.Role + "/" + name,
		id:        newKeyID("AROA") + ":" + name,
		expires:   l.now().Add(d).UTC().Truncate(time.Second),
	}
	keyID := l.sessions.add(s)
	subject := sha256.Sum256(leaf.RawSubject)
	type object = map[string]any
	return object{
		"credentialSet": []object{{
			"assumedRoleUser": object{"arn": s.arn, "assumedRoleId": s.id},
			"credentials": object{
				"accessKeyId":     keyID,
				"secretAccessKey": s.secretKey,
				"sessionToken":    s.token,
				"expiration":      s.expires.Format(time.RFC3339),
			},
			"packedPolicySize": 0,
			"roleArn":          l.setup.Role,
			"sourceIdentity":   sourceIdentity(leaf),
		}},
		"subjectArn": "arn:aws:rolesanywhere:" + l.opts.Region + ":" + l.opts.Account + ":subject/" + formatUUID(subject[:]),
	}
}

// hexSerial is the default session name.
func hexSerial(serial *big.Int) string {
	s := serial.Text(16)
	return strings.Repeat("0", len(s)%2) + s
}

func sourceIdentity(leaf *x509.Certificate) string {
	switch name := leaf.Subject.CommonName; {
	case name == "" || len(name) > 64:
		return "ID=" + hexSerial(leaf.SerialNumber)
	case len(name) > 61:
		return name
	default:
		return "CN=" + name
	}
}

// identify finds who an access key belongs to, and its secret key.
func (l *Lab) identify(c call, keyID, token string) (caller, string, error) {
	if keyID == l.setup.AccessKeyID && token == "" {
		arn := "arn:aws:iam::" + l.opts.Account + ":user/lab-admin"
		return caller{call: c, arn: arn, id: keyID, admin: true}, l.setup.SecretAccessKey, nil
	}
	s, ok := l.sessions.find(keyID)
	if !ok || !hmac.Equal([]byte(s.token), []byte(token)) {
		return caller{}, "", &apiError{code: "UnrecognizedClientException", message: "The security token included in the request is invalid."}
	}
	if s.revoked || !l.now().Before(s.expires) {
		return caller{}, "", &apiError{code: "ExpiredTokenException", message: "The security token included in the request is expired"}
	}
	return caller{call: c, arn: s.arn, id: s.id}, s.secretKey, nil
}

// RevokeSessions ends all sessions: later calls with them get
// ExpiredTokenException. New ones may be opened.
func (l *Lab) RevokeSessions() {
	l.sessions.mu.Lock()
	defer l.sessions.mu.Unlock()
	for _, s := range l.sessions.byKey {
		s.revoked = true
	}
}

// RevokeCertificate refuses new sessions to the certificate with this serial.
// As with AWS, sessions that are open live on.
func (l *Lab) RevokeCertificate(serial *big.Int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.revoked[serial.String()] = true
}

func (l *Lab) isRevoked(cert *x509.Certificate) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.revoked[cert.SerialNumber.String()]
}

// denial takes an action away from the role.
type denial struct{ operation, secretID string }

// Deny takes an operation such as GetSecretValue or sqs.ReceiveMessage away
// from the role, for one secret, parameter or queue (name or ARN) or, with an
// empty id, for all. As with AWS a denied parameter denies the GetParameters
// that names it, while GetParametersByPath looks at its path alone, and who may
// not sqs.DeleteMessage may not DeleteMessageBatch. The lab's own access keys
// stay free to do everything.
func (l *Lab) Deny(operation, secretID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.denials = append(l.denials, denial{operation: operation, secretID: secretID})
}

// AllowAll takes all denials back.
func (l *Lab) AllowAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.denials = nil
}

// authorize wants the caller to be allowed its operation on all the names by
// which a secret goes. No names: on anything at all.
func (l *Lab) authorize(c caller, names ...string) error {
	if c.admin {
		return nil
	}
	action := c.call
	if c.service == queueService { // IAM has no actions for its batches
		action.operation = strings.TrimSuffix(c.operation, "Batch")
	}
	for _, d := range l.denials {
		hit := d.secretID == ""
		resource := "*"
		for _, name := range names {
			hit = hit || d.secretID == name
			resource = name
		}
		if hit && (c.is(d.operation) || action.is(d.operation)) {
			return &apiError{code: "AccessDeniedException", message: fmt.Sprintf(
				"User: %[1]s is not authorized to perform: %[2]s:%[3]s on resource: %[4]s because no identity-based policy allows the %[2]s:%[3]s action",
				c.arn, c.service, action.operation, resource)}
		}
	}
	return nil
}

// decodeStrict refuses members that the lab does not know: a lab that ignored
// them would hide that they do nothing here. An empty body has no members.
func decodeStrict(body []byte, v any) error {
	if len(body) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return &apiError{code: "SerializationException", message: "request body: " + strings.TrimPrefix(err.Error(), "json: ")}
	}
	if d.More() {
		return &apiError{code: "SerializationException", message: "request body: more than one JSON value"}
	}
	return nil
}
