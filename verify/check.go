// Package verify tries new values where they will be used, before an application gets them.
package verify

import (
	"context"
	"time"

	"outrider/secret"
)

// Verdict is what a check found. The zero Verdict is that none was reached.
type Verdict string

// The verdicts. Wrong is said only by who judges the values themselves, such
// as a server that refuses the password; everything else that goes wrong is
// Inconclusive.
const (
	OK           Verdict = "ok"
	Wrong        Verdict = "wrong"
	Inconclusive Verdict = "inconclusive"
)

// Result is a verdict, and why it is not OK: with the server's code, with the
// remedy where there is one, and never with a value of the secret, its user
// name and host included. The error does not name the check.
type Result struct {
	Verdict Verdict
	Err     error // nil exactly when OK
}

// Trial is what is tried.
type Trial struct {
	App        string
	Generation uint64 // the one that the snapshot would become
	Snapshot   secret.Snapshot
	Now        time.Time
}

// Check is a way to try values: MySQL, Command or TLSPair.
type Check interface {
	// Verify tries the values once. It blocks until there is a verdict, at
	// most as long as its kind says; the end of ctx is Inconclusive.
	Verify(ctx context.Context, t Trial) Result
	// String returns what is tried, as logs and status show it.
	String() string
}
