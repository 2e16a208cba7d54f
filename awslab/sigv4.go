package awslab

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	sigv4Algorithm = "AWS4-HMAC-SHA256"
	amzDate        = "20060102T150405Z"
	tolerance      = 5 * time.Minute // how far a signing time may be off
)

// authorization is an Authorization header of the AWS4 family, taken apart.
type authorization struct {
	algorithm     string
	key           string // access key id, or certificate serial
	scope         scope
	signedHeaders []string
	signature     string
	date          time.Time // X-Amz-Date
}

// scope is the credential scope.
type scope struct{ date, region, service, terminator string }

// String is the scope as it stands in the string to sign.
func (s scope) String() string {
	return s.date + "/" + s.region + "/" + s.service + "/" + s.terminator
}

// parseAuthorization reads the Authorization and X-Amz-Date headers. The
// errors tell the reason; the caller chooses AWS's code.
func parseAuthorization(h http.Header) (authorization, error) {
	var a authorization
	line, err := soleValue(h, "Authorization")
	if err != nil {
		return a, err
	}
	algorithm, rest, _ := strings.Cut(line, " ")
	a.algorithm = algorithm
	fields := map[string]string{}
	for field := range strings.SplitSeq(rest, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(field), "=")
		if _, twice := fields[name]; !ok || twice {
			return a, fmt.Errorf("authorization: field %q is malformed or repeated", name)
		}
		fields[name] = value
	}
	credential := strings.Split(fields["Credential"], "/")
	if len(fields) != 3 || len(credential) != 5 || fields["SignedHeaders"] == "" || fields["Signature"] == "" {
		return a, fmt.Errorf("authorization: need Credential=KEY/DATE/REGION/SERVICE/aws4_request, SignedHeaders and Signature, and nothing else")
	}
	a.key = credential[0]
	a.scope = scope{date: credential[1], region: credential[2], service: credential[3], terminator: credential[4]}
	a.signedHeaders = strings.Split(fields["SignedHeaders"], ";")
	a.signature = fields["Signature"]
	stamp, err := soleValue(h, "X-Amz-Date")
	if err != nil {
		return a, err
	}
	if a.date, err = time.Parse(amzDate, stamp); err != nil || len(stamp) != len(amzDate) {
		return a, fmt.Errorf("x-amz-date: not of the form YYYYMMDDTHHMMSSZ")
	}
	return a, nil
}

// soleValue refuses headers sent twice: which of them was signed?
func soleValue(h http.Header, name string) (string, error) {
	values := h.Values(name)
	if len(values) != 1 || values[0] == "" {
		return "", fmt.Errorf("%s: sent %d times, must be sent once", strings.ToLower(name), len(values))
	}
	return values[0], nil
}

// checkScope holds the credential scope against the service and region that
// are called and the signing time.
func (a authorization) checkScope(service, region string) error {
	want := scope{date: a.date.Format("20060102"), region: region, service: service, terminator: "aws4_request"}
	if a.scope != want {
		return fmt.Errorf("credential scope %s: should be %s", a.scope, want)
	}
	return nil
}

// checkTime words its refusal as AWS does, since clients look for these words.
func (a authorization) checkTime(now time.Time) error {
	now = now.UTC()
	early, late := now.Add(-tolerance), now.Add(tolerance)
	switch {
	case a.date.Before(early):
		return fmt.Errorf("%s: %s is now earlier than %s (%s - 5 min.)", "Signature expired",
			a.date.Format(amzDate), early.Format(amzDate), now.Format(amzDate))
	case a.date.After(late):
		return fmt.Errorf("%s: %s is still later than %s (%s + 5 min.)", "Signature not yet current",
			a.date.Format(amzDate), late.Format(amzDate), now.Format(amzDate))
	}
	return nil
}

// checkSignedHeaders wants the list sorted, in lower case, naming only headers
// that were sent, and covering the required ones and all of x-amz-.
func (a authorization) checkSignedHeaders(r *http.Request, required ...string) error {
	if !slices.IsSorted(a.signedHeaders) || len(slices.Compact(slices.Clone(a.signedHeaders))) != len(a.signedHeaders) {
		return fmt.Errorf("signed headers: not sorted, or one repeated")
	}
	for _, name := range a.signedHeaders {
		if name != strings.ToLower(name) || (!isImplied(name) && r.Header.Values(name) == nil) {
			return fmt.Errorf("signed headers: %q is not in lower case or was not sent", name)
		}
	}
	for name := range r.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-amz-") || name == "content-type" {
			required = append(required, name)
		}
	}
	for _, name := range required {
		if !slices.Contains(a.signedHeaders, name) {
			return fmt.Errorf("signed headers: %q must be signed", name)
		}
	}
	return nil
}

// isImplied reports whether net/http keeps the header apart from the others.
func isImplied(name string) bool { return name == "host" || name == "content-length" }

// stringToSign is built from the request as it arrived.
func (a authorization) stringToSign(r *http.Request, body []byte) []byte {
	digest := sha256.Sum256(canonicalRequest(r, a.signedHeaders, body))
	return []byte(a.algorithm + "\n" + a.date.Format(amzDate) + "\n" + a.scope.String() + "\n" + hex.EncodeToString(digest[:]))
}

// canonicalRequest follows the SigV4 guide, for services other than S3.
func canonicalRequest(r *http.Request, signed []string, body []byte) []byte {
	var b bytes.Buffer
	b.WriteString(r.Method + "\n" + canonicalPath(r.URL) + "\n" + canonicalQuery(r.URL.RawQuery) + "\n")
	for _, name := range signed {
		b.WriteString(name + ":" + canonicalHeader(r, name, body) + "\n")
	}
	digest := sha256.Sum256(body)
	b.WriteString("\n" + strings.Join(signed, ";") + "\n" + hex.EncodeToString(digest[:]))
	return b.Bytes()
}

func canonicalHeader(r *http.Request, name string, body []byte) string {
	switch name {
	case "host":
		return r.Host
	case "content-length":
		return fmt.Sprint(len(body))
	}
	values := slices.Clone(r.Header.Values(name))
	for i, v := range values {
		values[i] = strings.Join(strings.Fields(v), " ")
	}
	return strings.Join(values, ",")
}

// canonicalPath escapes the path as it was sent once more.
func canonicalPath(u *url.URL) string {
	segments := strings.Split(u.EscapedPath(), "/")
	for i, s := range segments {
		segments[i] = escape(s)
	}
	if path := strings.Join(segments, "/"); path != "" {
		return path
	}
	return "/"
}

// canonicalQuery works on the raw query: a plus sign is a plus sign, and a
// client that meant a space has signed something else.
func canonicalQuery(raw string) string {
	if raw == "" {
		return ""
	}
	pairs := strings.Split(raw, "&")
	for i, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		pairs[i] = escape(unescape(name)) + "=" + escape(unescape(value))
	}
	slices.SortFunc(pairs, func(a, b string) int {
		nameA, valueA, _ := strings.Cut(a, "=")
		nameB, valueB, _ := strings.Cut(b, "=")
		if c := strings.Compare(nameA, nameB); c != 0 {
			return c
		}
		return strings.Compare(valueA, valueB)
	})
	return strings.Join(pairs, "&")
}

func unescape(s string) string {
	plain, err := url.PathUnescape(s)
	if err != nil {
		return s // stays as sent; its percent sign is then escaped
	}
	return plain
}

// escape leaves only the unreserved characters of RFC 3986.
func escape(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}

// hmacSignature is SigV4's: the key derived over the scope's four parts.
func (a authorization) hmacSignature(secretKey string, r *http.Request, body []byte) string {
	key := []byte("AWS4" + secretKey)
	for _, part := range []string{a.scope.date, a.scope.region, a.scope.service, a.scope.terminator} {
		key = hmacSHA256(key, []byte(part))
	}
	return hex.EncodeToString(hmacSHA256(key, a.stringToSign(r, body)))
}

func hmacSHA256(key, message []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(message)
	return mac.Sum(nil)
}

// caller is who made a call, and which.
type caller struct {
	call
	arn    string
	id     string
	admin  bool   // the lab's own keys, which nothing is denied
	origin string // the scheme and host that were asked
}

// authenticate verifies the SigV4 signature of a call and the session behind
// it.
func (l *Lab) authenticate(c call, r *http.Request, body []byte) (caller, error) {
	if r.Header.Get("Authorization") == "" {
		return caller{}, &apiError{code: "MissingAuthenticationTokenException", message: "Missing Authentication Token"}
	}
	a, err := parseAuthorization(r.Header)
	if err == nil && a.algorithm != sigv4Algorithm {
		err = fmt.Errorf("algorithm %q: only %s is known here", a.algorithm, sigv4Algorithm)
	}
	if err != nil {
		return caller{}, &apiError{code: "IncompleteSignatureException", message: err.Error()}
	}
	who, secretKey, err := l.identify(c, a.key, r.Header.Get("X-Amz-Security-Token"))
	if err != nil {
		return caller{}, err
	}
	for _, err := range []error{
		a.checkTime(l.now()),
		a.checkScope(c.service, l.opts.Region),
		a.checkSignedHeaders(r, "host", "x-amz-date"),
		checkPayloadHash(r, body),
	} {
		if err != nil {
			return caller{}, &apiError{code: "InvalidSignatureException", message: err.Error()}
		}
	}
	if !hmac.Equal([]byte(a.hmacSignature(secretKey, r, body)), []byte(a.signature)) {
		return caller{}, &apiError{code: "InvalidSignatureException", message: "The request signature we calculated does not match the signature you provided."}
	}
	who.origin = originOf(r)
	return who, nil
}

// originOf is for URLs in answers. A server's requests have no scheme.
func originOf(r *http.Request) string {
	scheme := cmp.Or(r.URL.Scheme, "http")
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

// checkPayloadHash holds the header, where a client sends it, against the
// body. UNSIGNED-PAYLOAD is not for these services.
func checkPayloadHash(r *http.Request, body []byte) error {
	sent := r.Header.Get("X-Amz-Content-Sha256")
	digest := sha256.Sum256(body)
	if sent != "" && sent != hex.EncodeToString(digest[:]) {
		return fmt.Errorf("x-amz-content-sha256: not the body's")
	}
	return nil
}
