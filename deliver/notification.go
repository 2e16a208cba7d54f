package deliver

import "context"

// Notification is what a target is told: an app's files are of a new
// generation.
type Notification struct {
	App        string
	Generation uint64
}

// Target is somebody to tell: a Signal, a Command or a Unit.
type Target interface {
	// Notify tells the target and blocks until it has taken notice, as far
	// as its kind can say so. A target that is not running is Absent, which
	// is no error. After an error Notify is to be called again.
	Notify(ctx context.Context, n Notification) (Outcome, error)
	// String returns what the target is, as logs and status show it.
	String() string
}

// Outcome is how one notification went.
type Outcome string

// The outcomes. Absent counts as delivered: what is not running reads the
// new files when it starts.
const (
	Delivered Outcome = "delivered"
	Absent    Outcome = "absent"
	Failed    Outcome = "failed"
)

// Result is the outcome at one target.
type Result struct {
	Target       string
	Notification Notification
	Outcome      Outcome
}
