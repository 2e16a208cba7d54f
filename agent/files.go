package agent

import (
	"errors"
	"fmt"
	"os/user"
	"strconv"
	"time"

	"outrider/deliver"
	"outrider/internal/config"
)

// placed turns what the configuration says of a file, except its content,
// into what deliver needs. Users and groups are looked up at each look: they
// may come to exist, or change, while the sidecar runs.
func placed(f config.File) (deliver.File, error) {
	file := deliver.File{Destination: f.Destination, Mode: f.Mode, Symlink: symlink(f.Symlink)}
	if f.Owner != "" {
		uid, err := number(f.Owner, func(name string) (string, error) {
			u, err := user.Lookup(name)
			if err != nil {
				return "", err
			}
			return u.Uid, nil
		})
		if err != nil {
			return file, fmt.Errorf("file %s: owner %s: no such user; create it or change the configuration", f.Destination, f.Owner)
		}
		file.UID = &uid
	}
	if f.Group != "" {
		gid, err := number(f.Group, func(name string) (string, error) {
			g, err := user.LookupGroup(name)
			if err != nil {
				return "", err
			}
			return g.Gid, nil
		})
		if err != nil {
			return file, fmt.Errorf("file %s: group %s: no such group; create it or change the configuration", f.Destination, f.Group)
		}
		file.GID = &gid
	}
	return file, nil
}

// number returns name itself when it is one, else what lookup says.
func number(name string, lookup func(string) (string, error)) (int, error) {
	if n, err := strconv.Atoi(name); err == nil {
		if n < 0 {
			return 0, errors.New("negative")
		}
		return n, nil
	}
	id, err := lookup(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(id)
}

func symlink(word string) deliver.Symlink {
	switch word {
	case "replace":
		return deliver.Replace
	case "refuse":
		return deliver.Refuse
	default:
		return deliver.Follow
	}
}

// targets turns what the configuration says of notifications into whom to
// tell, in order.
func targets(list []config.Notify) []deliver.Target {
	var ts []deliver.Target
	for _, n := range list {
		switch {
		case n.ReloadUnit != "":
			ts = append(ts, deliver.Unit{Name: n.ReloadUnit, Timeout: n.Timeout})
		case n.RestartUnit != "":
			ts = append(ts, deliver.Unit{Name: n.RestartUnit, Restart: true, Timeout: n.Timeout})
		case n.PIDFile != "":
			ts = append(ts, deliver.Signal{Signal: n.Signal, PIDFile: n.PIDFile})
		default:
			ts = append(ts, deliver.Command{Argv: n.Run, User: n.User, Timeout: timeout(n.Timeout)})
		}
	}
	return ts
}

func timeout(d time.Duration) time.Duration {
	if d <= 0 {
		return 30 * time.Second
	}
	return d
}
