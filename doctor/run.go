package doctor

import (
	"context"
	"time"
)

// grace is how long is waited for looks that end with their context.
const grace = time.Second

// Check is one thing to look at.
type Check struct {
	Subject string // of the finding when it does not end in time
	Look    func(context.Context) []Finding
}

// Run carries out all checks at the same time and returns what they found, in
// their order. It returns a second after ctx has ended at the latest: what
// hangs, such as a file system whose server is away, is left behind as a
// finding of its own.
func Run(ctx context.Context, checks []Check) []Finding {
	found := make([]chan []Finding, len(checks))
	for i, c := range checks {
		found[i] = make(chan []Finding, 1)
		go func() { found[i] <- c.Look(ctx) }()
	}
	late := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(grace, func() { close(late) })
	})
	defer stop()
	var all []Finding
	for i, c := range checks {
		select {
		case findings := <-found[i]:
			all = append(all, findings...)
			continue
		default:
		}
		select {
		case findings := <-found[i]:
			all = append(all, findings...)
		case <-late:
			all = append(all, Finding{Fail, c.Subject, "no answer in time", "see what hangs: the network, or a file system whose server is away"})
		}
	}
	return all
}
