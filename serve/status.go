package serve

import "time"

// Status is what `outrider status --json` prints.
type Status struct {
	Version    string              `json:"version"`
	Ready      bool                `json:"ready"`
	Identities map[string]Identity `json:"identities"`
	Roles      map[string]Role     `json:"roles"`
	Apps       map[string]App      `json:"apps"`
	Watch      Watch               `json:"watch"`
}

// Identity is the state of one identity. Its fields are empty while the
// identity could not be read.
type Identity struct {
	Subject   string     `json:"subject"`
	Serial    string     `json:"serial"`     // decimal, as in the signature
	SerialHex string     `json:"serial_hex"` // as AWS names the session
	NotAfter  *time.Time `json:"not_after,omitempty"`
	Key       string     `json:"key"`   // its kind
	Place     string     `json:"place"` // where it lives: file, tpm2, pkcs11 or spiffe
	Issuer    string     `json:"issuer"`
	SAN       []string   `json:"san"` // subject alternative names
	Error     string     `json:"error,omitempty"`
}

// Role is the state of one role's session.
type Role struct {
	Expires     *time.Time `json:"expires,omitempty"`
	AccessKeyID string     `json:"access_key_id"`
	Region      string     `json:"region"`
	Error       string     `json:"error,omitempty"`
}

// State says how an app stands.
type State string

// The states of an app: its files are as AWS has it; they were, but longer
// ago than max_stale; the last look failed; no look has ended yet; what AWS has
// is what the application did not run on.
const (
	Current  State = "current"
	Stale    State = "stale"
	Failing  State = "failing"
	Starting State = "starting"
	SetAside State = "set_aside"
)

// App is the state of one app.
type App struct {
	State      State             `json:"state"`
	Generation uint64            `json:"generation"`  // 0: nothing was committed by this process
	AgeSeconds float64           `json:"age_seconds"` // since the files were last known to be current
	Secrets    map[string]Secret `json:"secrets"`
	Files      map[string]File   `json:"files"` // by destination
	Owed       []string          `json:"owed"`  // targets still to be told, in order
	Next       *time.Time        `json:"next,omitempty"`
	Error      string            `json:"error,omitempty"`
}

// Secret says which version of a secret is in the files.
type Secret struct {
	ID      string `json:"id"`
	Version string `json:"version"`
	Stage   string `json:"stage"`
	Region  string `json:"region"` // that answered last
	// Rung is how a change is noticed: push, describe or get.
	Rung string     `json:"rung"`
	Next *time.Time `json:"next,omitempty"` // the next planned look
}

// File says how one destination stands.
type File struct {
	State State  `json:"state"`
	Error string `json:"error,omitempty"`
}

// Watch says how changes are noticed.
type Watch struct {
	IntervalSeconds float64    `json:"interval_seconds"`
	Rung            string     `json:"rung"` // the best in use: push or describe
	Next            *time.Time `json:"next,omitempty"`
	Queue
}

// QueueState says how a queue stands; empty while it has still to answer.
type QueueState string

// The states of a queue.
const (
	Receiving    QueueState = "receiving"
	NotReceiving QueueState = "failing" // secrets are looked at as if there were none
)

// Queue is the queue that says what has changed; zero: none is configured.
type Queue struct {
	URL         string     `json:"queue,omitempty"`
	State       QueueState `json:"state,omitempty"`
	Error       string     `json:"error,omitempty"`
	LastMessage *time.Time `json:"last_message,omitempty"` // nil: none came yet
}
