package deliver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/godbus/dbus/v5"
)

// What systemd and the bus call themselves (org.freedesktop.systemd1(5)).
const (
	busName        = "org.freedesktop.DBus"
	systemdName    = "org.freedesktop.systemd1"
	systemdPath    = "/org/freedesktop/systemd1"
	systemdManager = systemdName + ".Manager"
)

// Unit is a systemd unit that is reloaded or restarted. For a user other than
// root a polkit rule must allow it.
type Unit struct {
	Name    string // with its suffix: billing.service
	Restart bool   // TryRestartUnit; else ReloadOrTryRestartUnit
	// Timeout is how long to wait for the job; 0: until systemd ends it, by
	// the unit's own TimeoutStartSec= and its like. A shorter one leaves the
	// job running, and the next try queues another.
	Timeout time.Duration

	bus string // address of the bus; empty: the system's
}

// String returns the configuration's word and the unit's name.
func (u Unit) String() string {
	if u.Restart {
		return "restart_unit " + u.Name
	}
	return "reload_unit " + u.Name
}

// Notify queues the job over D-Bus and waits for its end. A unit that is not
// running is Absent. A job that does not end well, an unknown unit and a bus
// or systemd that does not answer are errors.
func (u Unit) Notify(ctx context.Context, _ Notification) (Outcome, error) {
	if u.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, u.Timeout,
			fmt.Errorf("systemd was not done after %s: raise timeout", u.Timeout))
		defer cancel()
	}
	outcome, err := u.notify(ctx)
	if err != nil && ctx.Err() != nil { // the bus only says that it was closed
		err = context.Cause(ctx)
	}
	return outcome, err
}

func (u Unit) notify(ctx context.Context) (Outcome, error) {
	s, err := dialSystemd(ctx, u.bus)
	if err != nil {
		return Failed, err
	}
	defer s.conn.Close()
	running, err := s.running(ctx, u.Name)
	if err != nil {
		return Failed, err
	}
	if !running {
		return Absent, nil
	}
	method := "ReloadOrTryRestartUnit"
	if u.Restart {
		method = "TryRestartUnit"
	}
	if err := s.job(ctx, method, u.Name); err != nil {
		return Failed, err
	}
	return Delivered, nil
}

// systemd is a connection to the system's manager of units.
type systemd struct {
	conn    *dbus.Conn
	manager dbus.BusObject
	owner   string // the only name whose signals count
	signals chan *dbus.Signal
}

// dialSystemd connects, and subscribes to the ends of jobs before there is
// one. The connection ends with ctx.
func dialSystemd(ctx context.Context, bus string) (*systemd, error) {
	options := []dbus.ConnOption{dbus.WithContext(ctx), dbus.WithAuth(dbus.AuthExternal(strconv.Itoa(os.Geteuid())))}
	var conn *dbus.Conn
	var err error
	if bus == "" {
		conn, err = dbus.ConnectSystemBus(options...)
	} else {
		conn, err = dbus.Connect(bus, options...)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to the system's D-Bus: %w: is dbus installed and running?", err)
	}
	s := &systemd{
		conn:    conn,
		manager: conn.Object(systemdName, systemdPath),
		signals: make(chan *dbus.Signal, 16), // behind a full one godbus queues, it drops nothing
	}
	conn.Signal(s.signals)
	err = conn.AddMatchSignalContext(ctx, dbus.WithMatchSender(busName),
		dbus.WithMatchInterface(busName), dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, systemdName))
	if err == nil {
		err = conn.BusObject().CallWithContext(ctx, busName+".GetNameOwner", 0, systemdName).Store(&s.owner)
	}
	if err == nil {
		err = conn.AddMatchSignalContext(ctx, dbus.WithMatchSender(systemdName),
			dbus.WithMatchInterface(systemdManager), dbus.WithMatchMember("JobRemoved"))
	}
	if err == nil {
		err = s.manager.CallWithContext(ctx, systemdManager+".Subscribe", 0).Err
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("reach systemd over D-Bus: %w", err)
	}
	return s, nil
}

// running reports whether there is a process of the unit to tell. Systemd's
// own answer for one that is not running would be the same as for one that is.
// And a unit whose ExecStartPre= waits for us would wait for ever if we waited
// for its reload.
func (s *systemd) running(ctx context.Context, unit string) (bool, error) {
	var path dbus.ObjectPath
	if err := s.manager.CallWithContext(ctx, systemdManager+".LoadUnit", 0, unit).Store(&path); err != nil {
		return false, fmt.Errorf("load unit: %w", err)
	}
	var active, sub, load string
	object := s.conn.Object(systemdName, path)
	for property, value := range map[string]*string{"ActiveState": &active, "SubState": &sub, "LoadState": &load} {
		err := object.CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, systemdName+".Unit", property).Store(value)
		if err != nil {
			return false, fmt.Errorf("read %s: %w", property, err)
		}
	}
	switch active {
	case "inactive", "failed", "deactivating":
		if load == "not-found" {
			return false, fmt.Errorf("systemd knows no such unit: install it, or correct the name (systemctl status %s)", unit)
		}
		return false, nil
	}
	switch sub {
	case "condition", "start-pre", "auto-restart", "auto-restart-queued":
		return false, nil
	}
	return true, nil
}

// job queues a job for the unit and waits until it has ended well.
func (s *systemd) job(ctx context.Context, method, unit string) error {
	var queued dbus.ObjectPath
	if err := s.manager.CallWithContext(ctx, systemdManager+"."+method, 0, unit, "replace").Store(&queued); err != nil {
		return refused(err, method, unit)
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case signal, open := <-s.signals:
			if !open {
				return errors.New("the D-Bus connection was closed before the job had ended")
			}
			if signal.Sender == busName {
				if err := s.resume(ctx, signal, queued); err != nil {
					return err
				}
				continue
			}
			result, ended := s.ended(signal, queued)
			switch {
			case !ended:
			case result != "done" && result != "skipped":
				return fmt.Errorf("%s: the job ended as %q: see journalctl -u %s", method, result, unit)
			default:
				return nil
			}
		}
	}
}

// ended returns what systemd says a job has ended as, if it says so.
func (s *systemd) ended(signal *dbus.Signal, queued dbus.ObjectPath) (result string, ended bool) {
	if signal.Sender != s.owner || signal.Name != systemdManager+".JobRemoved" {
		return "", false
	}
	var id uint32
	var path dbus.ObjectPath
	var of string
	err := dbus.Store(signal.Body, &id, &path, &of, &result)
	return result, err == nil && path == queued
}

// resume goes on waiting for a job when systemd was executed anew, as an upgrade
// of its package does. It takes the job over, and tells of its end who subscribes
// again. How one has ended that is gone nobody knows: the unit must be told again.
func (s *systemd) resume(ctx context.Context, changed *dbus.Signal, queued dbus.ObjectPath) error {
	if changed.Name != busName+".NameOwnerChanged" || len(changed.Body) != 3 {
		return nil
	}
	if s.owner, _ = changed.Body[2].(string); s.owner == "" {
		return nil // it is still to come back
	}
	err := s.manager.CallWithContext(ctx, systemdManager+".Subscribe", 0).Err
	if err == nil || subscribed(err) { // it remembers who had
		err = s.conn.Object(systemdName, queued).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, systemdName+".Job", "Id").Err
	}
	if err != nil {
		return fmt.Errorf("systemd was executed anew, and nobody knows how the job has ended: %w", err)
	}
	return nil
}

// subscribed reports whether systemd only says that we have subscribed already.
func subscribed(err error) bool {
	var answer dbus.Error
	return errors.As(err, &answer) && answer.Name == systemdName+".AlreadySubscribed"
}

// refused adds the remedy to the error that a job was refused with.
func refused(err error, method, unit string) error {
	err = fmt.Errorf("%s: %w", method, err)
	var answer dbus.Error
	if !errors.As(err, &answer) {
		return err
	}
	switch answer.Name {
	case "org.freedesktop.DBus.Error.AccessDenied", "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired":
		return fmt.Errorf("%w: run outrider as root, or let polkit allow uid %d org.freedesktop.systemd1.manage-units for %s", err, os.Geteuid(), unit)
	}
	return err
}
