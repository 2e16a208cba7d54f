package localfault

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// subject is something that the sidecar has others have, and that is to come
// new.
type subject struct {
	file  string                    // that they read
	role  bool                      // it is made of a session
	due   func(s *scene)            // a new one is to come
	fresh func(s *scene) bool       // it has
	whole func(*scene, string) bool // the file may hold that
}

// secret is the app's file, made from its secret.
func secret() subject {
	return subject{
		file: "etc/conf",
		due:  (*scene).rotate,
		fresh: func(s *scene) bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.read("etc/conf") == s.values[len(s.values)-1]
		},
		whole: func(s *scene, text string) bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return slices.Contains(s.values, text)
		},
	}
}

// certificate is the host's, beside the app's file that stays as it is.
func certificate() subject {
	c := secret()
	c.due = func(s *scene) { s.note(); s.renew() }
	c.fresh = func(s *scene) bool {
		status, err := s.status()
		now := status.Identities["host"].Serial
		return err == nil && now != "" && now != s.serial
	}
	return c
}

// renew puts another certificate and key in place, both at once.
func (s *scene) renew() {
	s.t.Helper()
	s.certificates++
	name := "set" + strconv.Itoa(s.certificates)
	_, err := s.lab.Write(s.path("pki/" + name))
	s.must(err)
	s.must(os.Symlink(name, s.path("pki/new")))
	s.rename("pki/new", "pki/live")
}

// keys are what the credentials file has of each session.
func keys() subject {
	return subject{
		file: "home/credentials",
		role: true,
		due:  func(s *scene) { s.write("before", s.read("home/credentials")) },
		fresh: func(s *scene) bool {
			text := s.read("home/credentials")
			return text != s.read("before") && strings.Contains(text, "aws_session_token")
		},
		whole: func(_ *scene, text string) bool {
			_, last, found := strings.Cut(text, "\nx_security_token_expires")
			return text == "[default]\n" || found && strings.HasSuffix(last, "Z\n") // without a key when the session ended
		},
	}
}

// handedOut waits until a session was just handed out: for a second there is
// no other, and nobody looks at the files.
func (s *scene) handedOut() {
	keys := keys()
	keys.due(s)
	s.until(func() bool { return keys.fresh(s) })
	s.pass(200 * time.Millisecond)
}

// token is what lets clients in, put back over something else.
func token() subject {
	const drifted = "drifted\n"
	return subject{
		file: "run/token",
		role: true,
		due: func(s *scene) {
			s.write("drifted", drifted)
			s.rename("drifted", "run/token")
		},
		fresh: func(s *scene) bool { return s.read("run/token") != drifted },
		whole: func(_ *scene, text string) bool { return text == drifted || len(text) > 2*len(drifted) },
	}
}

// place is a folder of the sidecar's.
type place struct {
	folder string
	subject
}

// places are all folders that a delivery writes in.
func places() []place {
	var all []place
	for _, folder := range []string{"state", "etc", "sealed", "audit"} {
		all = append(all, place{folder, secret()})
	}
	return append(all, place{"home", keys()}, place{"run", token()})
}

// has reports whether a path of a scene is in the place.
func (p place) has(path string) bool {
	return path == p.folder || strings.HasPrefix(path, p.folder+"/")
}
