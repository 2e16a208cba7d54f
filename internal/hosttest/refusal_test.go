package hosttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"outrider/awslab"
	"outrider/internal/pkitest"
)

const wrongPassword = "wrong-horse-4712"

// TestIdentitiesThatCannotWork has check say what is wrong with each, in one
// line that shows no secret.
func TestIdentitiesThatCannotWork(t *testing.T) {
	h := newHost(t, awslab.Options{})
	h.canary("the wrong password", wrongPassword)
	h.write("wrong", []byte(wrongPassword))
	h.write("empty", nil)
	h.encrypted("locked", pkitest.RSA(t, 2048))
	h.exported("host.p12", pkitest.RSA(t, 2048))
	pkitest.Run(t, "openssl", "pkcs12", "-export", "-nokeys", "-in", h.path("host.pem"), "-out", h.path("keyless.p12"), "-passout", "pass:"+password)
	tpm := pkitest.NewTPM(t)
	tss2, public := tpm.KeyFile(t, password, "-algorithm", "EC", "-pkeyopt", "group:P-256")
	h.certified("tpm.pem", public)
	api := pkitest.NewWorkloadAPI(t)
	nobody := h.ca.Leaf(t, pkitest.Options{Edit: nameless})
	api.Push(pkitest.NewSVID(t, "spiffe://example.org/billing", nobody))
	for name, tc := range map[string]struct{ config, want string }{
		"a wrong password of PKCS#8":    {"certificate: locked.pem, private_key: locked.key, password_file: wrong", "locked.key: the password does not open it"},
		"no password for PKCS#8":        {"certificate: locked.pem, private_key: locked.key", "locked.key: is encrypted; name a file"},
		"an empty password file":        {"certificate: locked.pem, private_key: locked.key, password_file: empty", "empty: is empty; write the password into it"},
		"a wrong password of PKCS#12":   {"pkcs12: host.p12, password_file: wrong", "host.p12: the password does not open it"},
		"PKCS#12 without a key":         {"pkcs12: keyless.p12, password_file: pass", "keyless.p12: private key missing"},
		"a wrong password of a TPM":     {fmt.Sprintf("certificate: tpm.pem, private_key: %q, password_file: wrong", "tpm2:"+tss2+"?device=unix:"+tpm.Socket), "its password is wrong; correct the file that password_file names"},
		"a TPM that is not there":       {`certificate: tpm.pem, private_key: "tpm2:0x81000001?device=/dev/no-tpm"`, "TPM at /dev/no-tpm: no such file"},
		"a key without certificate":     {"certificate: host.key, private_key: host.key", "host.key: holds a private key and no certificate"},
		"a certificate of another key":  {"certificate: tpm.pem, private_key: host.key", "host.key: does not belong to the certificate"},
		"an SVID with an empty subject": {"spiffe: unix://" + api.Socket, "its subject is empty"},
		"a Workload API not there":      {"spiffe: unix:///nonexistent/api", "unix:///nonexistent/api"},
	} {
		t.Run(name, func(t *testing.T) {
			h.configure("identities: {host: {" + tc.config + "}}\nroles: {billing: {${LAB}}}\n")
			out, failure, code := h.run("check")
			if code != 1 || strings.Count(failure, "\n") != 1 || !strings.HasPrefix(failure, "outrider: identity host: ") || !strings.Contains(failure, tc.want) {
				t.Errorf("check ended with %d, %q and %q; want 1, and one line with %q", code, out, failure, tc.want)
			}
			h.failsWith(tc.want, "credentials", "billing")
		})
	}
}

// TestASidecarWaitsForThePasswordToBeMended has the sidecar stay up with an
// identity that cannot work, say so wherever it is asked, and go on by itself.
func TestASidecarWaitsForThePasswordToBeMended(t *testing.T) {
	h := newHost(t, awslab.Options{})
	h.canary("the wrong password", wrongPassword)
	h.write("wrong", []byte(wrongPassword))
	h.encrypted("host", pkitest.RSA(t, 2048))
	container, imds := h.served()
	h.write("outrider.yaml", []byte(strings.Replace(h.read("outrider.yaml"), "private_key: host.key", "private_key: host.key, password_file: wrong", 1)))
	h.start()
	const cause = "the password does not open it"
	eventually(t, "the cause in status", func() error {
		s, err := h.status()
		if err == nil && (!strings.Contains(s.Identities["host"].Error, cause) || !strings.Contains(s.Roles["billing"].Error, cause)) {
			err = fmt.Errorf("it says %+v and %+v", s.Identities["host"], s.Roles["billing"])
		}
		return err
	})
	wanted(t, h.must("status"), cause)
	h.listening()
	for name, ask := range h.endpoints(container, imds) {
		_, err := ask()
		refused(t, name, err, cause)
	}
	h.failsWith(cause, "credentials", "billing")
	h.write("wrong", []byte(password))
	h.await("billing")
	for name, ask := range h.endpoints(container, imds) {
		if _, err := ask(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	h := newHost(t, awslab.Options{})
	container, imds := h.served()
	h.start()
	h.await("billing")
	token := h.checkToken("billing.token")
	const keys, tokens = "/latest/meta-data/iam/security-credentials/outrider-lab", "/latest/api/token"
	const ttl, shown = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds: ", "X-Aws-Ec2-Metadata-Token: "
	for name, tc := range map[string]struct {
		address, line, header string
		status                int
		want                  string
	}{
		"container, no token":                     {container, "GET /roles/billing", "Accept: */*", 401, "outrider env billing"},
		"container, a wrong token":                {container, "GET /roles/billing", "Authorization: " + token[1:], 403, "the token is not this role's"},
		"container, a token with more behind it":  {container, "GET /roles/billing", "Authorization: " + token + "x", 403, "the token is not this role's"},
		"container, forwarded":                    {container, "GET /roles/billing", "X-Forwarded-For: 192.0.2.1\r\nAuthorization: " + token, 400, "X-Forwarded-For"},
		"container, another method":               {container, "POST /roles/billing", "Authorization: " + token, 405, "only GET"},
		"container, another role":                 {container, "GET /roles/other", "Authorization: " + token, 404, "other"},
		"container, another path":                 {container, "GET /latest/api/token", "Authorization: " + token, 404, "/roles/NAME"},
		"imds, a TTL of nothing":                  {imds, "PUT " + tokens, ttl + "0", 400, "1 to 21600"},
		"imds, a TTL that is too long":            {imds, "PUT " + tokens, ttl + "21601", 400, "1 to 21600"},
		"imds, a TTL below nothing":               {imds, "PUT " + tokens, ttl + "-1", 400, "1 to 21600"},
		"imds, a TTL beyond numbers":              {imds, "PUT " + tokens, ttl + "99999999999999999999", 400, "1 to 21600"},
		"imds, a TTL that is none":                {imds, "PUT " + tokens, ttl + "soon", 400, "1 to 21600"},
		"imds, no TTL":                            {imds, "PUT " + tokens, "Accept: */*", 400, "1 to 21600"},
		"imds, a token asked for by another":      {imds, "PUT " + tokens, "X-Forwarded-For: 192.0.2.1\r\n" + ttl + "60", 400, "X-Forwarded-For"},
		"imds, a token asked for by GET":          {imds, "GET " + tokens, ttl + "60", 405, "only PUT"},
		"imds, no token":                          {imds, "GET " + keys, "Accept: */*", 401, "token"},
		"imds, a wrong token":                     {imds, "GET " + keys, shown + token, 401, "token"},
		"imds, a request as of the first version": {imds, "GET /latest/meta-data/iam/security-credentials/", "Accept: */*", 401, "token"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.client(tc.address, "", tc.line+" HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\n"+tc.header+"\r\n\r\n")()
			refusal, ok := errors.AsType[*refusedError](err)
			var body struct{ Code, Message string }
			if !ok || refusal.status != tc.status || json.Unmarshal([]byte(refusal.body), &body) != nil || body.Code == "" || !strings.Contains(body.Message, tc.want) {
				t.Errorf("the answer is %v, want %d with a code and %q", err, tc.status, tc.want)
			}
		})
	}
}

// TestASecondSidecarLeavesTheFirstAlone starts another with the same socket,
// ports and token file, and a state of its own. It says what is taken, and
// the first one's clients notice nothing.
func TestASecondSidecarLeavesTheFirstAlone(t *testing.T) {
	h := newHost(t, awslab.Options{})
	container, imds := h.served()
	h.start()
	h.await("billing")
	token := h.checkToken("billing.token")
	h.write("second.yaml", []byte(strings.Replace(h.read("outrider.yaml"), "state: state", "state: second", 1)))
	second := h.start("-c", h.path("second.yaml"))
	for _, taken := range []string{
		"admin socket " + h.path("outrider.sock") + ": another process serves it; stop that one or change listen.admin",
		"credentials endpoint " + container + ": another process listens there; stop that one or change listen.credentials",
		"imds endpoint " + imds + ": another process listens there; stop that one or change listen.imds.address",
		`"msg":"session opened"`,
	} {
		eventually(t, "a line of the log", func() error {
			if !strings.Contains(second.log.String(), taken) {
				return fmt.Errorf("%q is not in it:\n%s", taken, second.log.String())
			}
			return nil
		})
	}
	if h.read("billing.token") != token {
		h.canary("the second token", h.read("billing.token"))
		t.Error("the second sidecar wrote a token that the first does not know")
	}
	for name, ask := range h.endpoints(container, imds) {
		if _, err := ask(); err != nil {
			t.Errorf("%s, beside a second sidecar: %v", name, err)
		}
	}
	if log := second.stop(); strings.Count(log, `"level":"ERROR"`) != 3 {
		t.Errorf("the second sidecar does not say once of each what is taken:\n%s", log)
	}
	_, failure, code := h.run("run")
	if code != 1 || !strings.Contains(failure, "is in use by process ") {
		t.Errorf("a second sidecar on the same state ended with %d and %q; want 1, and the first one's process", code, failure)
	}
	if got, err := h.status(); err != nil || got.Roles["billing"].AccessKeyID == "" {
		t.Errorf("after the second sidecar's end the first says %+v, %v", got.Roles, err)
	}
}
