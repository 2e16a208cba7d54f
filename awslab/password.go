package awslab

import (
	"crypto/rand"
	"math/big"
	"strings"
)

type passwordInput struct {
	PasswordLength          *int
	ExcludeCharacters       string
	ExcludeNumbers          bool
	ExcludePunctuation      bool
	ExcludeUppercase        bool
	ExcludeLowercase        bool
	IncludeSpace            bool
	RequireEachIncludedType *bool // left out: true
}

// alphabets returns the kinds of character that the password may have.
func (in passwordInput) alphabets() []string {
	var kinds []string
	for _, kind := range []struct {
		out   bool
		chars string
	}{
		{in.ExcludeLowercase, "abcdefghijklmnopqrstuvwxyz"},
		{in.ExcludeUppercase, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"},
		{in.ExcludeNumbers, "0123456789"},
		{in.ExcludePunctuation, "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"},
		{!in.IncludeSpace, " "},
	} {
		chars := strings.Map(func(r rune) rune {
			if strings.ContainsRune(in.ExcludeCharacters, r) {
				return -1
			}
			return r
		}, kind.chars)
		if !kind.out && chars != "" {
			kinds = append(kinds, chars)
		}
	}
	return kinds
}

func (l *Lab) getRandomPassword(_ caller, in passwordInput) (any, error) {
	length := 32
	if in.PasswordLength != nil {
		length = *in.PasswordLength
	}
	kinds := in.alphabets()
	if length < 1 || length > 4096 || len(kinds) == 0 {
		return nil, errParameter("PasswordLength: must be 1 to 4096, and some characters must be left to choose from.")
	}
	each := in.RequireEachIncludedType == nil || *in.RequireEachIncludedType
	if each && length < len(kinds) {
		return nil, errParameter("PasswordLength: too short to hold each included type.")
	}
	for {
		password, err := draw(strings.Join(kinds, ""), length)
		if err != nil {
			return nil, err
		}
		if !each || hasEach(password, kinds) {
			return struct{ RandomPassword string }{password}, nil
		}
	}
}

func draw(alphabet string, length int) (string, error) {
	b := make([]byte, length)
	for i := range b {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(alphabet))))
		if err != nil {
			return "", err
		}
		b[i] = alphabet[n.Int64()]
	}
	return string(b), nil
}

func hasEach(password string, kinds []string) bool {
	for _, kind := range kinds {
		if !strings.ContainsAny(password, kind) {
			return false
		}
	}
	return true
}
