package sealed

import (
	"encoding/hex"
	"strings"
	"testing"
)

// Whatever stands where the copy should, it is opened or refused: what is
// opened was signed with the key, and neither the key nor the text is told.
func FuzzOpen(f *testing.F) {
	key := fixed(f)
	c := Copy{App: "billing"}
	text, err := encode(letter{Host: "host", App: c.App}, snapshot())
	if err != nil {
		f.Fatal(err)
	}
	whole, err := seal(key, text)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add(encrypted(f, key.Recipient(), text))
	f.Add(encrypted(f, key.Recipient(), nil))
	f.Add([]byte("age-encryption.org/v1\n-> X25519 x\n--- y\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, content []byte) {
		s, err := c.open(key, "host", content, refs())
		if err == nil && !s.SameVersions(snapshot()) {
			t.Error("opened something else than was sealed")
		}
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Error("the error tells a value")
		}
	})
}

// Behind the encryption there is still a parser. Its input is signed here, to
// get past that.
func FuzzDecode(f *testing.F) {
	text, err := encode(letter{Host: "host", App: "billing"}, snapshot())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"format":1,"versions":{"db":{"value":"` + canary + `"}}}`))
	f.Add([]byte(`{"format":2}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := decode(text)
		if err == nil {
			_, err = l.snapshot(refs())
		}
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Error("the error tells a value")
		}
	})
}

func FuzzParseKey(f *testing.F) {
	key := fixed(f).String()
	f.Add([]byte(key))
	f.Add([]byte("# public key: age1\n" + key + "\r\n"))
	f.Add([]byte(key + "\n" + key))
	f.Add([]byte(hex.EncodeToString([]byte(key))))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := parseKey(text)
		if err == nil && !strings.Contains(strings.ToUpper(string(text)), got.String()) {
			t.Error("took what is not in the file for a key")
		}
		if err != nil && len(text) > 20 && strings.Contains(err.Error(), string(text)) {
			t.Error("the error quotes the file")
		}
	})
}
