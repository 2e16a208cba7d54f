package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// caller calls Secrets Manager with no more than the protocol asks for.
type caller struct {
	Endpoint, Region       string
	AccessKeyID, SecretKey string
	SessionToken           string // empty for keys that last
	client                 *http.Client
}

// call makes one call and decodes its answer into out.
func (c *caller) call(ctx context.Context, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Endpoint+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "secretsmanager."+operation)
	c.sign(r, body, time.Now().UTC())
	return send(c.client, r, http.StatusOK, out)
}

// sign signs as AWS4-HMAC-SHA256.
//
// Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
func (c *caller) sign(r *http.Request, body []byte, at time.Time) {
	date := at.Format("20060102T150405Z")
	r.Header.Set("X-Amz-Date", date)
	names := []string{"content-type", "host", "x-amz-date", "x-amz-target"}
	if c.SessionToken != "" {
		r.Header.Set("X-Amz-Security-Token", c.SessionToken)
		names = []string{"content-type", "host", "x-amz-date", "x-amz-security-token", "x-amz-target"}
	}
	var canonical strings.Builder
	canonical.WriteString("POST\n/\n\n")
	for _, name := range names {
		value := r.Header.Get(name)
		if name == "host" {
			value = r.URL.Host
		}
		canonical.WriteString(name + ":" + value + "\n")
	}
	signed := strings.Join(names, ";")
	canonical.WriteString("\n" + signed + "\n" + digest(body))

	scope := date[:8] + "/" + c.Region + "/secretsmanager/aws4_request"
	key := []byte("AWS4" + c.SecretKey)
	for part := range strings.SplitSeq(scope, "/") {
		key = mac(key, part)
	}
	signature := mac(key, "AWS4-HMAC-SHA256\n"+date+"\n"+scope+"\n"+digest([]byte(canonical.String())))
	r.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%x",
		c.AccessKeyID, scope, signed, signature))
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// send expects one status, and JSON.
func send(client *http.Client, r *http.Request, status int, out any) error {
	res, err := client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != status {
		return fmt.Errorf("%s %s %s: %s: %s", r.Method, r.URL.Path, r.Header.Get("X-Amz-Target"), res.Status, body)
	}
	return json.Unmarshal(body, out)
}
