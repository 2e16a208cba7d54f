package deliver

import "context"

// Examine reports whether Notify would find the unit running, and tells it
// nothing. Its errors are those of Notify that come before the job: an unknown
// unit, and a bus or systemd that does not answer.
func (u Unit) Examine(ctx context.Context) (running bool, err error) {
	s, err := dialSystemd(ctx, u.bus)
	if err != nil {
		return false, err
	}
	defer s.conn.Close()
	return s.running(ctx, u.Name)
}

// Examine reports whether Notify would find the process, and could signal it.
// Its errors are those of Notify: signal 0 only asks (kill(2)).
func (s Signal) Examine(ctx context.Context) (running bool, err error) {
	outcome, err := Signal{PIDFile: s.PIDFile}.Notify(ctx, Notification{})
	return outcome == Delivered, err
}
