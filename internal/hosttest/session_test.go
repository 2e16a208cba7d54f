package hosttest

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// keys are a session as a client gets it. Token is SessionToken in what
// credential_process prints.
type keys struct {
	AccessKeyID     string `json:"AccessKeyId"`
	SecretAccessKey string
	Token           string
	SessionToken    string
	Expiration      time.Time
}

// parse reads an answer, whose secrets nothing may say from now on. A session
// must not have ended when it was asked for.
func (h *host) parse(body []byte, asked time.Time) (keys, error) {
	var k keys
	if err := json.Unmarshal(body, &k); err != nil {
		return k, err
	}
	k.Token += k.SessionToken
	if k.AccessKeyID == "" || k.SecretAccessKey == "" || k.Token == "" {
		return k, errors.New("the session is not whole")
	}
	if !asked.Before(k.Expiration) {
		return k, fmt.Errorf("at %s a session was handed out that had ended at %s", asked, k.Expiration)
	}
	h.canary("a secret access key", k.SecretAccessKey)
	h.canary("a session token", k.Token)
	return k, nil
}

// credentials runs `outrider credentials` and returns the session.
func (h *host) credentials(role string) keys {
	h.t.Helper()
	asked := time.Now()
	k, err := h.parse([]byte(h.must("credentials", role)), asked)
	if err != nil {
		h.t.Fatalf("outrider credentials %s: %v", role, err)
	}
	return k
}

// caller asks AWS whose the keys are. The ARN ends in the hexadecimal serial
// number of the certificate that opened the session.
func (h *host) caller(k keys) (string, error) {
	body := "Action=GetCallerIdentity&Version=2011-06-15"
	r, err := http.NewRequest(http.MethodPost, h.endpoint+"/", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	sum := sha256.Sum256([]byte(body))
	c := aws.Credentials{AccessKeyID: k.AccessKeyID, SecretAccessKey: k.SecretAccessKey, SessionToken: k.Token}
	if err := v4.NewSigner().SignHTTP(h.t.Context(), c, r, hex.EncodeToString(sum[:]), "sts", h.lab.Setup().Region, time.Now()); err != nil {
		return "", err
	}
	res, err := h.lab.RoundTripper().RoundTrip(r)
	if err != nil {
		return "", err
	}
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("GetCallerIdentity: %s: %s: %w", res.Status, answer, err)
	}
	var id struct {
		ARN string `xml:"GetCallerIdentityResult>Arn"`
	}
	return id.ARN, xml.Unmarshal(answer, &id)
}

// openedBy checks that the role's session was opened by the certificate. On a
// machine that is busy elsewhere a session may have ended before AWS is asked.
func (h *host) openedBy(role string, c *x509.Certificate) error {
	k := h.credentials(role)
	arn, err := h.caller(k)
	for err != nil && !time.Now().Before(k.Expiration) {
		k = h.credentials(role)
		arn, err = h.caller(k)
	}
	if err == nil && !strings.HasSuffix(arn, "/"+hexSerial(c)) {
		err = fmt.Errorf("role %s: the session is %s, not of the certificate %s", role, arn, hexSerial(c))
	}
	return err
}

func hexSerial(c *x509.Certificate) string { return hex.EncodeToString(c.SerialNumber.Bytes()) }
