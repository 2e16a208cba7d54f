// Package config turns the configuration files into one checked, immutable Config, or into every mistake in them with its place.
package config

import (
	"io/fs"
	"syscall"
	"time"

	"outrider/secret"
)

// Config is a whole configuration, checked: every reference in it resolves,
// every path is absolute, every default is filled in. It is never changed
// after Load.
type Config struct {
	File       string   // the main file, absolute
	Files      []string // every file that was read, templates included
	Identities map[string]Identity
	Roles      map[string]Role
	Apps       map[string]App
	Watch      Watch
	Listen     Listen
	State      string // folder; default /var/lib/outrider
	Log        Log
}

// Identity says where a certificate, its key and its chain are kept. All are
// paths of PEM files.
type Identity struct {
	Name        string
	Certificate string // the leaf first, then perhaps its chain
	PrivateKey  string
	Chain       string // empty: none, or inside Certificate
}

// Role is an identity, and what a session opened with it may do.
type Role struct {
	Name            string
	Identity        string // a key of Config.Identities
	Region          string
	TrustAnchor     string        // ARN
	Profile         string        // ARN
	Role            string        // ARN
	SessionDuration time.Duration // 15m to 12h; 0: not sent, the profile decides
	SessionName     string        // empty: not sent
	Endpoints       Endpoints
	Allow           Allow
}

// Endpoints are base URLs by service; an empty one is AWS's own. The
// configuration's are merged over the environment's by Load.
type Endpoints struct {
	RolesAnywhere  string
	SecretsManager string
	SSM            string
	SQS            string
	STS            string
}

// Allow lists who but root and outrider's own user may ask, by name or number.
type Allow struct {
	Users  []string
	Groups []string
}

// App is the unit of coherence: secrets, the files made from them, and whom
// to tell.
type App struct {
	Name     string
	Role     string                // a key of Config.Roles
	Secrets  map[string]secret.Ref // by the name that templates use; never empty
	Files    []File
	Notify   []Notify
	MaxStale time.Duration // 0: no limit; default 24h
	Allow    Allow
}

// File is one destination and what it is made from: exactly one of a
// template text or Raw.
type File struct {
	Place       string // where the entry stands: file:line:col: apps.billing.files[0]
	Source      string // what errors in Text name: the template's path, or Place for an inline content
	Text        string // the template's text
	Raw         string // the name of a secret whose bytes are the file
	Destination string
	Owner       string       // user, by name or number; empty: kept, or our own for a new file
	Group       string       // likewise
	Mode        *fs.FileMode // nil: kept, or 0600 for a new file
	Symlink     string       // follow, replace or refuse
}

// Notify is one target that is told of a new generation: exactly one of
// ReloadUnit, RestartUnit, Signal with PIDFile, or Run.
type Notify struct {
	Place       string
	ReloadUnit  string
	RestartUnit string
	Signal      syscall.Signal
	PIDFile     string
	Run         []string      // argv
	User        string        // for Run; empty: our own
	Timeout     time.Duration // default 30s
}

// Watch says how changes are noticed.
type Watch struct {
	Interval time.Duration // of the poll, before jitter; 1s or more, default 5m
}

// Listen says what is served where.
type Listen struct {
	Admin string // path of a unix socket; default /run/outrider/outrider.sock
}

// Log says what is logged and how.
type Log struct {
	Level  string // debug, info, warn or error
	Format string // auto, text or json
}
