package secret

import "time"

// Current is the staging label that a plain read returns.
const Current = "AWSCURRENT"

// Kind says where a secret is kept.
type Kind uint8

// The kinds of reference. The zero Kind is Secrets Manager.
const (
	SecretsManager Kind = iota
	Parameter
	Parameters
)

// String returns the word that the configuration uses for the kind.
func (k Kind) String() string {
	switch k {
	case Parameter:
		return "parameter"
	case Parameters:
		return "parameters"
	default:
		return "secret"
	}
}

// Ref names one secret as the configuration does. It is comparable: two apps
// that write the same Ref share one read.
type Ref struct {
	Kind      Kind
	ID        string // name or ARN (SecretId); a parameter's name, with its selector; a path
	Stage     string // staging label; empty with a VersionID, else never empty
	VersionID string // pins one version; empty: the stage decides
	Recursive bool   // for Parameters: the whole tree below the path
}

// String returns the kind and the id, and the stage or version where it is
// not the plain one: "secret prod/db", "secret prod/db (AWSPREVIOUS)".
func (r Ref) String() string {
	s := r.Kind.String() + " " + r.ID
	switch {
	case r.VersionID != "":
		return s + " (version " + r.VersionID + ")"
	case r.Stage != "" && r.Stage != Current:
		return s + " (" + r.Stage + ")"
	}
	return s
}

// Version is one version of one secret, as one read returned it.
type Version struct {
	Ref     Ref
	ID      string    // VersionId; the number of a parameter; of a path a digest of the names and numbers below it
	ARN     string    // the secret's full ARN; empty for a path
	Region  string    // the region that answered
	Created time.Time // when AWS says the version was made, of a path its newest parameter; zero when it does not say
	Value   Value
	Binary  bool // the value is bytes (SecretBinary), not text

	// Below holds, in place of Value, a path's parameters by their names below
	// the path. It is not to be changed.
	Below map[string]Version
}
