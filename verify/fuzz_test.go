package verify

import (
	"context"
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"

	"outrider/internal/pkitest"
	"outrider/secret"
)

// FuzzTLSPair gives values as they come from a secret. What serves together was
// issued together, and an error quotes nothing of them.
func FuzzTLSPair(f *testing.F) {
	leaf := pkitest.NewRoot(f, "root").Leaf(f, pkitest.Options{})
	f.Add(leaf.Certificate, leaf.PrivateKey)
	f.Add(append(leaf.Certificate, leaf.PrivateKey...), append(leaf.Certificate, leaf.PrivateKey...))
	f.Add(leaf.PrivateKey, leaf.Certificate)
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"), []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n"), []byte("-----BEGIN RSA PRIVATE KEY-----\nDEK-Info: a\n\nMAA=\n-----END RSA PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, certificate, key []byte) {
		err := checkPair(secret.NewValue(certificate), secret.NewValue(key), leaf.Parsed.NotBefore.Add(time.Minute))
		if err != nil && (strings.ContainsAny(err.Error(), "\r\n") || len(err.Error()) > 300) {
			t.Errorf("got %d bytes, want a short line", len(err.Error()))
		}
	})
}

// FuzzServer is a server that says anything to a login without TLS. Only its
// own refusal is a verdict, and what it says is not passed on.
func FuzzServer(f *testing.F) {
	greeting := []byte("\x0a8.4.0\x00\x01\x00\x00\x00saltsalt\x00\x01\x82\xff\x02\x00\x08\x00\x15\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00saltsaltsalt\x00mysql_native_password\x00")
	f.Add(greeting, []byte("\xff\x15\x04#28000Access denied for user 'canary_user'@'x'"))
	f.Add(greeting, []byte("\x00\x00\x00\x02\x00\x00\x00"))
	f.Add(greeting, []byte("\xfecaching_sha2_password\x00saltsaltsaltsaltsalt\x00"))
	f.Add(greeting, []byte("\xfemysql_clear_password\x00"))
	f.Add([]byte("\xff\x15\x04canary"), []byte{})
	f.Add([]byte("\x09old"), []byte("\x01\x04"))
	account := secret.NewSnapshot(time.Time{}, map[string]secret.Version{"db": {Value: secret.Text(`{"username":"canary_user","password":"canary-password","host":"db.test"}`)}})
	f.Fuzz(func(t *testing.T, greeting, answer []byte) {
		if len(greeting) >= 1<<16 || len(answer) >= 1<<16 {
			return // longer than the fake can say at once
		}
		ended := make(chan struct{})
		m := MySQL{Secret: "db", TLS: Off, Dial: func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() {
				defer close(ended)
				defer server.Close()
				_ = server.SetDeadline(time.Now().Add(100 * time.Millisecond)) // who waits for more is not waited for
				w := &wire{Conn: server}
				w.send(greeting)
				for range 3 {
					if _, err := w.receive(); err != nil {
						return
					}
					w.send(answer)
				}
			}()
			return client, nil
		}}
		got := m.Verify(t.Context(), Trial{Snapshot: account})
		<-ended
		if (got.Verdict == OK) != (got.Err == nil) || got.Verdict == Wrong && (len(answer) < 3 || answer[0] != 0xff) && (len(greeting) < 3 || greeting[0] != 0xff) {
			t.Errorf("got %v, %v", got.Verdict, got.Err)
		}
		if got.Err != nil && (strings.Contains(got.Err.Error(), "canary") || strings.ContainsAny(got.Err.Error(), "\r\n\x1b")) {
			t.Error("the error says who logs in, or more than a line")
		}
	})
}

// FuzzAttempts gives what may stand in the state folder. What is restored
// delays a try no longer than what was noted, and no login is repeated at once.
func FuzzAttempts(f *testing.F) {
	f.Add([]byte(`{"mysql db.test|db=v":{"Tries":3,"Last":"2026-01-02T03:04:05Z","Verdict":"wrong","Since":"2026-01-02T03:04:05Z","Reason":"1045"}}`))
	f.Add([]byte(`{"a":{"Tries":-9223372036854775808,"Last":"9999-12-31T23:59:59Z","Verdict":"?"}}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var tried map[string]Attempt
		if json.Unmarshal(text, &tried) != nil {
			return
		}
		now := time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC)
		for key, a := range tried {
			if wait := a.due(0, now).Sub(now); wait > longestPause {
				t.Errorf("%q waits %v", key, wait)
			}
		}
		var l Ledger
		l.Restore(tried)
		s := Situation{Rules: []Rule{{Name: "r", Secrets: []string{"db"}}}, Current: Versions{"db": "v"}}
		if step := l.Next(s, now); step.Do == Try {
			l.Note(step, Result{Verdict: OK}, now)
		}
		if got := l.Next(s, now.Add(time.Second)); got.Do == Try {
			t.Error("tried again a second after it was")
		}
	})
}
