package agent

import (
	"fmt"
	"math"
	"os/user"
	"strconv"
	"strings"

	"outrider/deliver"
	"outrider/internal/config"
)

// placed turns what the configuration says of a file, except its content,
// into what deliver needs. Users and groups are looked up at each look: they
// may come to exist, or change, while the sidecar runs.
func placed(f config.File, layout string) (deliver.File, error) {
	file := deliver.File{Destination: f.Destination, Mode: f.Mode, Symlink: symlink(f.Symlink), InPlace: f.InPlace}
	if layout == "directory" {
		file.Layout = deliver.Directory
	}
	if f.Owner != "" {
		uid, err := number(f.Owner, func(name string) (string, error) {
			u, err := user.Lookup(name)
			if err != nil {
				return "", err
			}
			return u.Uid, nil
		})
		if err != nil {
			return file, fmt.Errorf("owner %s: no such user; create it or change the configuration", f.Owner)
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
			return file, fmt.Errorf("group %s: no such group; create it or change the configuration", f.Group)
		}
		file.GID = &gid
	}
	return file, nil
}

// number returns name itself when it is one, else what lookup says. The
// highest number is not one: to the kernel it means "leave it".
func number(name string, lookup func(string) (string, error)) (int, error) {
	if strings.Trim(name, "0123456789") != "" {
		id, err := lookup(name)
		if err != nil {
			return 0, err
		}
		name = id
	}
	n, err := strconv.ParseUint(name, 10, 32)
	if err == nil && n == math.MaxUint32 {
		err = strconv.ErrRange
	}
	return int(n), err
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
