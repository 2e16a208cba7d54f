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
	Untrusted  Mistakes // the files that others than root and ourselves may change, and the remedies; nothing may be done by them
	Weak       []string // what works, and should be mended
	Identities map[string]Identity
	Roles      map[string]Role
	AWS        AWS
	Apps       map[string]App
	Watch      Watch
	Listen     Listen
	State      string // folder; default /var/lib/outrider
	Confine    bool   // no file but those that the Config names is within reach of the process
	Log        Log
	Audit      Audit
}

// Identity says where a certificate, its key and its chain are kept: exactly
// one of Certificate with PrivateKey, PKCS12, or SPIFFE.
type Identity struct {
	Name         string
	Certificate  string // a PEM file, the leaf first, then perhaps its chain
	PrivateKey   string // a PEM file's path; tpm2: and a path or a handle such as 0x81000001, perhaps with ?device=; or a pkcs11: URI as it was given
	PasswordFile string // of an encrypted key or PKCS12, or the PIN of a token's key; empty: none
	Chain        string // a PEM file; empty: none, or inside Certificate or PKCS12
	PKCS12       string // a file
	SPIFFE       string // the URL of a Workload API, unix:///…
}

// Role is an identity, and what a session opened with it may do.
type Role struct {
	Name            string
	Identity        string // a key of Config.Identities
	Region          string
	TrustAnchor     string        // ARN
	Profile         string        // ARN
	Role            string        // ARN
	SessionDuration time.Duration // 15m to 12h, with Assume to 1h; 0: not sent, the profile decides
	SessionName     string        // empty: not sent
	Assume          []string      // ARNs of the roles to go on to, in order
	FIPS            bool          // never with Endpoints
	DualStack       bool          // never with Endpoints
	Fallback        []Fallback    // in order, at most four
	Endpoints       Endpoints
	Allow           Allow
	Token           *Token           // nil: not served where a token is asked for
	CredentialsFile *CredentialsFile // nil: none
}

// Fallback is where sessions are opened while the region of a role is away.
type Fallback struct {
	Region      string // another than the role's, in the same partition
	TrustAnchor string // ARN, in Region
	Profile     string // ARN, in Region
}

// Token is the file whose content lets a client have a role's session.
type Token struct {
	File  string
	Owner string // user, by name or number; empty: our own
	Group string // likewise
}

// CredentialsFile is a profile of a shared credentials file.
type CredentialsFile struct {
	Path    string
	Profile string // default "default"; no two roles have the same
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

// AWS says how AWS is reached.
type AWS struct {
	CABundle string // a PEM file, added to the system's roots; empty: none
}

// App is the unit of coherence: secrets, the files made from them, and whom
// to tell.
type App struct {
	Name        string
	Role        string                // a key of Config.Roles
	Secrets     map[string]secret.Ref // by the name that templates use; never empty
	Together    [][]string            // names of Secrets that rotate as one; two or more each, none in two groups
	Verify      []Verify
	Files       []File                // empty only with Credentials
	Credentials map[string]Credential // for units, by the credential's name; never with Layout directory
	Layout      string                // files or directory
	Check       []string              // argv, the program absolute when it was a path, the rest as given; empty: none
	Notify      []Notify
	Confirm     *Confirm      // nil: none
	Settle      time.Duration // at most LongestWait
	LongestWait time.Duration // default 30s
	Splay       time.Duration
	MaxStale    time.Duration // 0: no limit; default 24h
	OnDenied    string        // keep or remove
	Sealed      *Sealed       // nil: no copy is kept
	Allow       Allow
}

// Sealed says where an app's last good snapshot is kept for starts without
// AWS.
type Sealed struct {
	Path string // of the copy
	Key  string // of the file with the age identity that opens it
}

// Verify is one trial of the secrets before any file is touched: exactly one
// of MySQL, Run or TLSPair.
type Verify struct {
	Place          string // where the entry stands: file:line:col: apps.billing.verify[0]
	MySQL          *VerifyMySQL
	Run            []string // argv
	TLSPair        *VerifyTLSPair
	User           string        // for Run; empty: our own
	Timeout        time.Duration // for Run; default 30s
	OnInconclusive string        // deliver or hold
	EarlyPending   bool
}

// VerifyMySQL is a login with what one secret holds.
type VerifyMySQL struct {
	Secret  string // a key of App.Secrets
	Address string // host, host:port, or unix: and a path; empty: the secret says
	TLS     string // over TCP: verify-full, verify-ca, require (nothing is verified) or off (plaintext)
	CA      string // a PEM file, for the two that verify; empty: the system's roots
}

// VerifyTLSPair is a certificate and its key, which must fit each other.
type VerifyTLSPair struct {
	Certificate string // the text of a template that gives PEM
	PrivateKey  string // likewise
}

// Confirm is a command that must succeed after a new generation was told of.
type Confirm struct {
	Run    []string      // argv
	Within time.Duration // default 30s
	User   string        // empty: our own
}

// File is one destination and what it is made from: exactly one of a
// template text or Raw.
type File struct {
	Place       string       // where the entry stands: file:line:col: apps.billing.files[0]
	Source      string       // what errors in Text name: the template's path, or Place for an inline content
	Text        string       // the template's text
	Raw         string       // the name of a secret whose bytes are the file; Format is none
	Destination string       // with Layout directory, all of an app's are in one folder, and no other file is below it
	Format      string       // none, properties, ini, dotenv, json, yaml, my.cnf, systemd-environment, toml, shell, pgpass or xml
	Owner       string       // user, by name or number; empty: kept, or our own for a new file
	Group       string       // likewise
	Mode        *fs.FileMode // nil: kept, or 0600 for a new file
	Symlink     string       // follow, replace or refuse
	InPlace     bool         // never with Layout directory or Symlink replace
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
	Queue    string        // URL; empty: none
	Place    QueuePlace    // of Queue
	Role     string        // with Queue: a key of Config.Roles
}

// Listen says what is served where. No two listen at one place.
type Listen struct {
	Admin       string  // path of a unix socket; default /run/outrider/outrider.sock
	Credentials Address // with tcp, at least one role has a Token
	IMDS        IMDS
	Metrics     Address // tcp; not only loopback
	Systemd     string  // path of a unix socket; empty: none, and no app has Credentials
}

// Address is where to listen. The zero Address is nowhere.
type Address struct {
	Network string // tcp or unix
	Address string // host:port, the host a number and, where sessions are told, loopback; or a path
}

// IMDS says where EC2's metadata service is stood in for.
type IMDS struct {
	Address Address // tcp; zero: nowhere
	Role    string  // a key of Config.Roles
}

// Log says what is logged and how.
type Log struct {
	Level  string // debug, info, warn or error
	Format string // auto, text or json
}

// Audit says where it is noted what went where.
type Audit struct {
	Path string // of the file; empty: nowhere
}

// Credential is what systemd gets for a unit.
type Credential struct {
	Source string   // what errors in Text name
	Text   string   // a template's
	Units  []string // units by their whole names; NAME@.service is every instance
}
