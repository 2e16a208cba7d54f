package verify

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// wire is the server's end of one connection, spoken by hand.
type wire struct {
	net.Conn
	seq byte
}

func (w *wire) send(payload []byte) {
	head := []byte{byte(len(payload)), byte(len(payload) >> 8), 0, w.seq}
	w.seq++
	_, _ = w.Write(append(head, payload...)) // a client that is gone is what some tests want
}

func (w *wire) receive() ([]byte, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(w, head); err != nil {
		return nil, err
	}
	w.seq = head[3] + 1
	payload := make([]byte, int(head[0])|int(head[1])<<8)
	_, err := io.ReadFull(w, payload)
	return payload, err
}

// greet sends a greeting of MySQL 8.
func (w *wire) greet(plugin string, withTLS bool) {
	capabilities := uint32(1 | 0x200 | 0x8000 | 0x80000) // long password, protocol 4.1, secure connection, plugins
	if withTLS {
		capabilities |= 0x800
	}
	var b bytes.Buffer
	b.WriteString("\x0a8.4.0\x00\x01\x00\x00\x00saltsalt\x00")
	b.Write(binary.LittleEndian.AppendUint16(nil, uint16(capabilities)))
	b.WriteString("\xff\x02\x00")
	b.Write(binary.LittleEndian.AppendUint16(nil, uint16(capabilities>>16)))
	b.WriteString("\x15" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" + "saltsaltsalt\x00" + plugin + "\x00")
	w.send(b.Bytes())
}

func (w *wire) refuse(code uint16) {
	w.send(append(binary.LittleEndian.AppendUint16([]byte{0xff}, code), "#HY000said of canary_user@canary.test"...))
}

// speaking returns a dial function to a server that says what serve does.
func speaking(serve func(w *wire)) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			serve(&wire{Conn: server})
		}()
		return client, nil
	}
}

var canaries = fields{"username": "canary_user", "password": "canary-password", "host": "canary.test"}

// verified runs a check against a server in a bubble and returns how long it
// took.
func verified(t *testing.T, m MySQL) (got Result, took time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m.Secret = "db"
		begin := time.Now()
		got, took = m.Verify(t.Context(), trial(t, canaries)), time.Since(begin)
	})
	return got, took
}

func TestServerErrorsAreTold(t *testing.T) {
	tests := []struct {
		code    uint16
		verdict Verdict
		want    string
	}{
		{1040, Inconclusive, "too many connections"},
		{1044, Inconclusive, "the user may not use the database"},
		{1045, Wrong, "access denied"},
		{1049, Inconclusive, "there is no database"},
		{1129, Inconclusive, "FLUSH HOSTS"},
		{1130, Inconclusive, "this host may not connect"},
		{1203, Inconclusive, "too many connections"},
		{1226, Inconclusive, "too many connections"},
		{1251, Inconclusive, "no way of authentication in common"},
		{1524, Inconclusive, "no way of authentication in common"},
		{1698, Wrong, "access denied"},
		{1820, Inconclusive, "the password has expired"},
		{1862, Inconclusive, "the password has expired"},
		{3118, Inconclusive, "the account is locked"},
		{3159, Inconclusive, "set tls: verify-full"},
		{3955, Inconclusive, "too many wrong passwords"},
		{4150, Inconclusive, "too many wrong passwords"},
		{4151, Inconclusive, "the account is locked"},
		{9999, Inconclusive, "look the number up in its manual"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.code), func(t *testing.T) {
			got, _ := verified(t, MySQL{TLS: Off, Dial: speaking(func(w *wire) {
				w.greet("mysql_native_password", false)
				if _, err := w.receive(); err != nil {
					t.Errorf("no login: %v", err)
				}
				w.refuse(tt.code)
			})})
			expect(t, got, tt.verdict, fmt.Sprintf("MySQL error %d: ", tt.code), canaries)
			expect(t, got, tt.verdict, tt.want, canaries)
		})
	}
}

func TestARefusalBeforeTLSIsNoVerdict(t *testing.T) {
	for _, mode := range []TLS{"", VerifyFull, VerifyCA, Require} {
		got, _ := verified(t, MySQL{TLS: mode, Dial: speaking(func(w *wire) { w.refuse(1045) })})
		expect(t, got, Inconclusive, "said before TLS was agreed on, as anybody could", canaries)
	}
}

func TestServersThatDoNotSpeakTheProtocol(t *testing.T) {
	tests := []struct {
		name string
		say  func(w *wire)
		want string
	}{
		{"one that hangs up", func(*wire) {}, "the connection broke off"},
		{"another protocol's greeting", func(w *wire) { _, _ = w.Write([]byte("220 mail.test ESMTP\r\n")) }, "the connection broke off"},
		{"a greeting that is cut short", func(w *wire) { w.send([]byte{10, '8', 0}) }, "does not speak MySQL's protocol"},
		{"an error that is cut short", func(w *wire) { w.send([]byte{0xff, 1}) }, "does not speak MySQL's protocol"},
		{"an old protocol", func(w *wire) { w.send([]byte{9, '3', 0}) }, "does not speak MySQL's protocol"},
		{"a way of authentication nobody knows", func(w *wire) {
			w.greet("mysql_native_password", false)
			_, _ = w.receive()
			w.send([]byte("\xfecanary_plugin\x00saltsaltsaltsaltsalt\x00"))
		}, "the user's way of authentication is not known here"},
		{"one that asks for the password in the clear", func(w *wire) {
			w.greet("mysql_native_password", false)
			_, _ = w.receive()
			w.send([]byte("\xfemysql_clear_password\x00\x00"))
		}, "not safe on this connection"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// Not in a bubble, which the driver's own goroutine would outlive.
			got := MySQL{Secret: "db", TLS: Off, Dial: speaking(tt.say)}.Verify(t.Context(), trial(t, canaries))
			expect(t, got, Inconclusive, tt.want, canaries)
		})
	}
}

func TestTheFullPasswordIsNotSentWithoutTLS(t *testing.T) {
	for _, plugin := range []string{"caching_sha2_password", "sha256_password"} {
		got, _ := verified(t, MySQL{TLS: Off, Dial: speaking(func(w *wire) {
			w.greet(plugin, false)
			if _, err := w.receive(); err != nil {
				t.Errorf("%s: no login: %v", plugin, err)
			}
			w.send([]byte{1, 4}) // more, please: the whole authentication
			if p, err := w.receive(); err == nil {
				t.Errorf("%s: the client goes on with %d bytes", plugin, len(p))
			}
		})})
		if plugin == "caching_sha2_password" {
			expect(t, got, Inconclusive, "wants the password itself, which is not sent without TLS", canaries)
		}
	}
}

// MySQL 8 asks for the password itself when it has not seen it since its
// start, PAM always does.
func TestTheFullPasswordIsSentWithinTLS(t *testing.T) {
	files := newPKI(t)
	pair, err := tls.LoadX509KeyPair(files.certificate, files.key)
	if err != nil {
		t.Fatal(err)
	}
	full, pam := "\x01\x04", "\xfemysql_clear_password\x00\x00"
	server := func(request, password string) func(w *wire) {
		return func(w *wire) {
			w.greet("caching_sha2_password", true)
			_, _ = w.receive() // wants TLS
			w.Conn = tls.Server(w.Conn, &tls.Config{Certificates: []tls.Certificate{pair}})
			_, _ = w.receive() // logs in
			w.send([]byte(request))
			if got, _ := w.receive(); string(got) != password+"\x00" {
				w.refuse(1045)
				return
			}
			for { // OK, to what follows as well
				w.send([]byte{0, 0, 0, 2, 0, 0, 0})
				if got, err := w.receive(); err != nil || string(got) != "\x03SELECT 1" {
					return
				}
			}
		}
	}
	tests := []struct {
		name    string
		mode    TLS
		serve   func(w *wire)
		verdict Verdict
		want    string
	}{
		{"the right password", VerifyFull, server(full, "canary-password"), OK, ""},
		{"a wrong password", VerifyFull, server(full, "another"), Wrong, "1045"},
		{"the right password for PAM", VerifyFull, server(pam, "canary-password"), OK, ""},
		{"a wrong password for PAM", VerifyCA, server(pam, "another"), Wrong, "1045"},
		{"PAM, to a server that may be anybody", Require, server(pam, "canary-password"), Inconclusive, "not safe on this connection"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := MySQL{Secret: "db", Address: "db.test", CA: files.ca, TLS: tt.mode, Dial: speaking(tt.serve)}
			expect(t, m.Verify(t.Context(), trial(t, canaries)), tt.verdict, tt.want, canaries)
		})
	}
}

func TestALoginDoesNotTakeForEver(t *testing.T) {
	got, took := verified(t, MySQL{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	expect(t, got, Inconclusive, "cannot connect within 5s", canaries)
	if took != 5*time.Second {
		t.Errorf("connecting took %s, want 5s", took)
	}
	got, took = verified(t, MySQL{Dial: speaking(func(w *wire) { _, _ = io.Copy(io.Discard, w) })})
	expect(t, got, Inconclusive, "no answer within 10s", canaries)
	if took != 10*time.Second {
		t.Errorf("logging in took %s, want 10s", took)
	}
}

func TestALoginThatIsCalledOff(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m := MySQL{Secret: "db", Dial: speaking(func(w *wire) {
		cancel()
		_, _ = io.Copy(io.Discard, w)
	})}
	expect(t, m.Verify(ctx, trial(t, canaries)), Inconclusive, "called off: context canceled", canaries)
}
