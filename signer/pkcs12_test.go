package signer

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"outrider/secret"
)

// word is the password of the files in testdata.
const word = "word"

func pkcs12File(t testing.TB, name string) []byte {
	t.Helper()
	content, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestAPKCS12FileOfManyIterationsIsRefusedBeforeTheyAreDone(t *testing.T) {
	whole := pkcs12File(t, "modern.p12")
	if _, _, err := (Part{Data: whole}).PKCS12(secret.Text(word)); err != nil {
		t.Fatal(err)
	}
	// The last is the number of iterations, 2048 in two bytes, after its tag.
	few := []byte{0x02, 0x02, 0x08, 0x00}
	many := []byte{0x02, 0x04, 0x7f, 0xff, 0xff, 0xff}
	at := bytes.LastIndex(whole, few)
	long := append(bytes.Clone(whole[:at]), many...)
	// Both of the sequences around it, the file and its MAC, are two longer.
	long[3] += 2
	mac := bytes.LastIndex(whole[:at], []byte{0x30, 0x41, 0x30, 0x31})
	long[mac+1] += 2
	_, _, err := Part{Data: long}.PKCS12(secret.Text(word))
	if err == nil || !strings.Contains(err.Error(), "2147483647 iterations, beyond 10000000; export") {
		t.Errorf("got %v, want that it has too many iterations", err)
	}
}

// FuzzPKCS12 has no password that fits: what is behind that, who knows it has
// written. Iterations that take seconds, as they may, are not waited for.
func FuzzPKCS12(f *testing.F) {
	for _, name := range []string{"modern.p12", "legacy.p12"} {
		f.Add(pkcs12File(f, name))
		f.Add(pkcs12File(f, name)[:100])
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, content []byte) {
		if n := macIterations(content); n > 10_000 && n <= maxIterations {
			return
		}
		list, key, err := Part{Name: "host.p12", Data: content}.PKCS12(secret.Value{})
		switch {
		case err == nil && (len(list) == 0 || key == nil):
			t.Error("got neither an identity nor an error")
		case err != nil && (strings.ContainsAny(err.Error(), "\n\r") || !strings.HasPrefix(err.Error(), "host.p12: ")):
			t.Errorf("got %q, want one line that names the file", err)
		}
	})
}
