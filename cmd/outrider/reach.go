package main

import (
	"path/filepath"
	"strings"

	"outrider/confine"
	"outrider/internal/config"
)

// reach is what a confined sidecar needs: the system's own settings, roots,
// users and buses, and what the configuration names. Files are replaced in
// their folders, so the folders are what is named.
func reach(c *config.Config) confine.Paths {
	p := confine.Paths{
		Read:  []string{"/etc", "/proc", "/run", "/sys", "/usr/share", "/usr/local/share", "/var/lib/ca-certificates", "/dev/urandom"},
		Write: []string{"/dev/null", "/dev/tpmrm0", c.State, filepath.Dir(c.Listen.Admin)},
	}
	reads := func(paths ...string) {
		for _, path := range paths {
			if filepath.IsAbs(path) {
				p.Read = append(p.Read, filepath.Dir(path))
			}
		}
	}
	writes := func(path string) {
		if path == "" {
			return
		}
		p.Write = append(p.Write, filepath.Dir(path))
		if target, err := filepath.EvalSymlinks(path); err == nil {
			p.Write = append(p.Write, filepath.Dir(target))
		}
	}
	reads(c.Files...)
	reads(c.AWS.CABundle)
	for _, i := range c.Identities {
		reads(i.Certificate, strings.TrimPrefix(i.PrivateKey, "tpm2:"), i.Chain, i.PKCS12, i.PasswordFile)
	}
	for _, r := range c.Roles {
		if r.Token != nil {
			writes(r.Token.File)
		}
		if r.CredentialsFile != nil {
			writes(r.CredentialsFile.Path)
		}
	}
	for _, a := range c.Apps {
		reachOf(a, reads, writes)
	}
	writes(c.Audit.Path)
	writes(c.Listen.Systemd)
	if c.Listen.Credentials.Network == "unix" {
		writes(c.Listen.Credentials.Address)
	}
	return p
}

func reachOf(a config.App, reads func(...string), writes func(string)) {
	for _, f := range a.Files {
		path := f.Destination
		if a.Layout == "directory" {
			path = filepath.Dir(path) // a link, whose folder it is about
		}
		writes(path)
	}
	for _, v := range a.Verify {
		if v.MySQL != nil {
			reads(v.MySQL.CA)
		}
	}
	for _, n := range a.Notify {
		reads(n.PIDFile)
	}
	if a.Sealed != nil {
		writes(a.Sealed.Path)
		reads(a.Sealed.Key)
	}
}
