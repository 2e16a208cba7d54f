package source_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"outrider/internal/pkitest"
	"outrider/signer/source"
)

// pair puts a good set into a folder.
func pair(t *testing.T) (source.Source, pkitest.Leaf) {
	t.Helper()
	dir := t.TempDir()
	ca := pkitest.NewRoot(t, "root").Intermediate(t, "ca")
	leaf := ca.Leaf(t, pkitest.Options{})
	f := source.Source{
		Certificate: filepath.Join(dir, "host.pem"),
		PrivateKey:  filepath.Join(dir, "host.key"),
		Chain:       filepath.Join(dir, "chain.pem"),
	}
	write(t, f.Certificate, leaf.Certificate, 0o644)
	write(t, f.PrivateKey, leaf.PrivateKey, 0o600)
	write(t, f.Chain, pkitest.CertificatePEM(ca.Certificate), 0o644)
	return f, leaf
}

func write(t *testing.T, path string, content []byte, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, content, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// password names a password file in a set, and writes it.
func password(t *testing.T, s *source.Source, text string) {
	t.Helper()
	s.PasswordFile = filepath.Join(t.TempDir(), "host.pass")
	write(t, s.PasswordFile, []byte(text), 0o600)
}

func TestLoadReadsTheThreeAsOneSet(t *testing.T) {
	f, leaf := pair(t)
	id, err := f.Load(t.Context(), &source.Devices{})
	if err != nil {
		t.Fatal(err)
	}
	if !id.Leaf().Equal(leaf.Parsed) || len(id.Chain()) != 1 || len(id.Warnings()) != 0 {
		t.Errorf("got %s, %d above it, warnings %q", id, len(id.Chain()), id.Warnings())
	}
	f.Chain = ""
	if id, err = f.Load(t.Context(), &source.Devices{}); err != nil || len(id.Chain()) != 0 {
		t.Errorf("without a chain: got %v", err)
	}
}

func TestLoadFollowsLinks(t *testing.T) {
	f, _ := pair(t)
	link := filepath.Join(t.TempDir(), "linked.pem")
	if err := os.Symlink(f.Certificate, link); err != nil {
		t.Fatal(err)
	}
	f.Certificate = link
	if _, err := f.Load(t.Context(), &source.Devices{}); err != nil {
		t.Error(err)
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	tests := map[string]struct {
		harm func(t *testing.T, f *source.Source)
		file func(f source.Source) string
		want string
	}{
		"a certificate that is not there": {
			harm: func(_ *testing.T, f *source.Source) { f.Certificate += ".new" },
			file: func(f source.Source) string { return "certificate " + f.Certificate },
			want: "no such file or directory; put it there",
		},
		"a key that is not there": {
			harm: func(_ *testing.T, f *source.Source) { f.PrivateKey += ".new" },
			file: func(f source.Source) string { return "private key " + f.PrivateKey },
			want: "no such file or directory; put it there",
		},
		"a chain that is not there": {
			harm: func(_ *testing.T, f *source.Source) { f.Chain += ".new" },
			file: func(f source.Source) string { return "chain " + f.Chain },
			want: "no such file or directory; put it there",
		},
		"a password file that is not there": {
			harm: func(_ *testing.T, f *source.Source) { f.PasswordFile = f.PrivateKey + ".pass" },
			file: func(f source.Source) string { return "password file " + f.PasswordFile },
			want: "no such file or directory; put it there",
		},
		"an empty password file": {
			harm: func(t *testing.T, f *source.Source) { password(t, f, "\n") },
			file: func(f source.Source) string { return "password file " + f.PasswordFile },
			want: "is empty; write the password into it",
		},
		"a password file of two lines": {
			harm: func(t *testing.T, f *source.Source) { password(t, f, "one\ntwo\n") },
			file: func(f source.Source) string { return "password file " + f.PasswordFile },
			want: "holds more than one line",
		},
		"an empty chain": {
			harm: func(t *testing.T, f *source.Source) { write(t, f.Chain, nil, 0o644) },
			file: func(f source.Source) string { return "chain " + f.Chain },
			want: "is empty",
		},
		"a folder": {
			harm: func(_ *testing.T, f *source.Source) { f.Certificate = filepath.Dir(f.Certificate) },
			file: func(f source.Source) string { return "certificate " + f.Certificate },
			want: "is not a regular file",
		},
		"a FIFO nobody writes to": {
			harm: func(t *testing.T, f *source.Source) {
				f.PrivateKey += ".fifo"
				if err := syscall.Mkfifo(f.PrivateKey, 0o600); err != nil {
					t.Fatal(err)
				}
			},
			file: func(f source.Source) string { return "private key " + f.PrivateKey },
			want: "is not a regular file",
		},
		"a file that is too large": {
			harm: func(t *testing.T, f *source.Source) {
				if err := os.Truncate(f.Certificate, 1<<20+1); err != nil {
					t.Fatal(err)
				}
			},
			file: func(f source.Source) string { return "certificate " + f.Certificate },
			want: "is larger than",
		},
		"the key of another certificate": {
			harm: func(t *testing.T, f *source.Source) {
				write(t, f.PrivateKey, pkitest.NewRoot(t, "x").Leaf(t, pkitest.Options{}).PrivateKey, 0o600)
			},
			file: func(f source.Source) string { return "private key " + f.PrivateKey },
			want: "does not belong",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f, _ := pair(t)
			test.harm(t, &f)
			_, err := f.Load(t.Context(), &source.Devices{})
			if err == nil {
				t.Fatal("got no error")
			}
			if want := test.file(f) + ": " + test.want; !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got %q, want it to begin with %q", err, want)
			}
			missing := strings.Contains(name, "not there")
			if got := errors.Is(err, fs.ErrNotExist); got != missing {
				t.Errorf("is fs.ErrNotExist: got %t, want %t", got, missing)
			}
		})
	}
}

func TestLoadWarnsOfAPasswordThatEveryUserCanReach(t *testing.T) {
	f, _ := pair(t)
	password(t, &f, "word\n")
	if err := os.Chmod(f.PasswordFile, 0o644); err != nil {
		t.Fatal(err)
	}
	id, err := f.Load(t.Context(), &source.Devices{})
	if err != nil {
		t.Fatal(err)
	}
	if got := id.Warnings(); len(got) != 1 || !strings.Contains(got[0], "chmod o= "+f.PasswordFile) {
		t.Errorf("got %q", got)
	}
}

func TestLoadWarnsOfAKeyThatEveryUserCanReach(t *testing.T) {
	for mode, want := range map[fs.FileMode]bool{0o600: false, 0o640: false, 0o644: true, 0o602: true} {
		f, _ := pair(t)
		if err := os.Chmod(f.PrivateKey, mode); err != nil {
			t.Fatal(err)
		}
		id, err := f.Load(t.Context(), &source.Devices{})
		if err != nil {
			t.Fatal(err)
		}
		if got := len(id.Warnings()) > 0; got != want {
			t.Errorf("mode %04o: got warnings %q, want some: %t", mode, id.Warnings(), want)
		}
	}
}

func TestLoadWarnsOfAKeyThatAnotherUserCanExchange(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	const nobody = 65534
	for name, tc := range map[string]struct {
		uid, gid int
		mode     fs.FileMode
		want     string
	}{
		"a group that may read it":   {0, nobody, 0o640, ""},
		"root's group may write it":  {0, 0, 0o660, ""},
		"a group that may write it":  {0, nobody, 0o660, "lets group 65534 change it; chmod g-w "},
		"another user who may do so": {nobody, 0, 0o600, "belongs to uid 65534, who can change it; chown root "},
	} {
		t.Run(name, func(t *testing.T) {
			f, _ := pair(t)
			if err := errors.Join(os.Chown(f.PrivateKey, tc.uid, tc.gid), os.Chmod(f.PrivateKey, tc.mode)); err != nil {
				t.Fatal(err)
			}
			id, err := f.Load(t.Context(), &source.Devices{})
			if err != nil {
				t.Fatal(err)
			}
			got := id.Warnings()
			if (tc.want != "") != (len(got) == 1) || tc.want != "" && !strings.HasSuffix(got[0], tc.want+f.PrivateKey) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
