package agent

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"outrider/deliver"
	"outrider/doctor"
)

// Check looks at what the configuration names on this host: identities, and
// the places where files go. It asks nobody on the network and changes
// nothing.
func (a *Agent) Check(ctx context.Context, now time.Time) []doctor.Finding {
	w := a.current()
	var findings []doctor.Finding
	for _, name := range slices.Sorted(maps.Keys(w.identities)) {
		findings = append(findings, w.identities[name].examine(ctx, now)...)
	}
	for _, name := range slices.Sorted(maps.Keys(w.apps)) {
		findings = append(findings, w.apps[name].examine()...)
	}
	return findings
}

func (i *identity) examine(ctx context.Context, now time.Time) []doctor.Finding {
	subject := "identity " + i.Name
	set, err := i.source.Load(ctx, i.devices)
	if err == nil {
		err = set.CheckTime(now)
	}
	if err != nil {
		return []doctor.Finding{{Verdict: doctor.Fail, Subject: subject, Text: err.Error()}}
	}
	leaf := set.Leaf()
	text := fmt.Sprintf("%s, issuer %s, serial %s (hex %s), %s in %s, %d days left", leaf.Subject, leaf.Issuer,
		leaf.SerialNumber, hexSerial(leaf.SerialNumber), set.KeyKind(), set.KeyPlace(), int(leaf.NotAfter.Sub(now).Hours()/24))
	if san := names(leaf); len(san) > 0 {
		text += ", SAN " + strings.Join(san, " ")
	}
	findings := []doctor.Finding{{Verdict: doctor.OK, Subject: subject, Text: text}}
	if soon(leaf.NotBefore, leaf.NotAfter, now) {
		findings = append(findings, doctor.Finding{
			Verdict: doctor.Warn, Subject: subject, Text: "ends " + leaf.NotAfter.Format(time.RFC3339), Remedy: "renew it",
		})
	}
	for _, warning := range set.Warnings() {
		findings = append(findings, doctor.Finding{Verdict: doctor.Warn, Subject: subject, Text: warning})
	}
	return findings
}

// names returns a certificate's subject alternative names.
func names(c *x509.Certificate) []string {
	all := slices.Concat(c.DNSNames, c.EmailAddresses)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	for _, u := range c.URIs {
		all = append(all, u.String())
	}
	return all
}

// soon reports whether a certificate is within the last quarter of its life
// or its last fourteen days, whichever is the shorter.
func soon(notBefore, notAfter, now time.Time) bool {
	ahead := min(notAfter.Sub(notBefore)/4, 14*24*time.Hour)
	return now.After(notAfter.Add(-ahead))
}

func (a *app) examine() []doctor.Finding {
	subject := "app " + a.Name
	var files []deliver.File
	var errs []error
	for _, f := range a.Files {
		file, err := placed(f, a.Layout)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		files = append(files, file)
	}
	if a.Sealed != nil {
		errs = append(errs, a.sealedCopy().Check())
	}
	findings := []doctor.Finding{}
	for _, err := range leaves(errors.Join(append(errs, deliver.Inspect(files))...)) {
		if err != nil {
			findings = append(findings, doctor.Finding{Verdict: doctor.Fail, Subject: subject, Text: err.Error()})
		}
	}
	if len(findings) == 0 {
		text := fmt.Sprintf("%d secrets, %d files, %d to notify", len(a.Secrets), len(a.Files), len(a.Notify))
		findings = append(findings, doctor.Finding{Verdict: doctor.OK, Subject: subject, Text: text})
	}
	return findings
}
