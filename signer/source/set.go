package source

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"strings"

	"outrider/signer"
	"outrider/signer/internal/device"
	"outrider/signer/pkcs11"
	"outrider/signer/spiffe"
	"outrider/signer/tpm"
)

func svid(ctx context.Context, address string) (signer.Set, error) {
	svid, err := spiffe.Fetch(ctx, address)
	if err != nil {
		return signer.Set{}, err
	}
	name := fmt.Sprintf("SVID %s of %s", svid.ID, address)
	return signer.Set{
		Certificates: svid.Certificates, CertificateName: name,
		Key: given(svid.Key), KeyName: name, KeyPlace: "spiffe",
	}, nil
}

// given is a key that is there already.
func given(key crypto.Signer) func(*x509.Certificate) (crypto.Signer, error) {
	return func(*x509.Certificate) (crypto.Signer, error) { return key, nil }
}

// kept reads an identity that is kept on this host.
func (s Source) kept(ctx context.Context, d *Devices) (signer.Set, error) {
	var set signer.Set
	var pin device.PIN
	if path := s.passwordFile(); path != "" {
		f, err := read("password file", path)
		if err != nil {
			return set, err
		}
		if pin, err = f.pin(); err != nil {
			return set, err
		}
		set.Warnings = f.warnings()
	}
	var err error
	if s.PKCS12 != "" {
		err = s.readPKCS12(&set, pin)
	} else {
		err = s.readPair(ctx, d, &set, pin)
	}
	if err == nil && s.Chain != "" {
		set.ChainName, set.Chain, err = certificates("chain", s.Chain)
	}
	return set, err
}

func (s Source) readPKCS12(set *signer.Set, pin device.PIN) error {
	f, err := read("PKCS#12", s.PKCS12)
	if err != nil {
		return err
	}
	list, key, err := f.PKCS12(pin.Value)
	if err != nil {
		return err
	}
	set.Certificates, set.CertificateName = list, f.Name
	set.Key, set.KeyName, set.KeyPlace = given(key), f.Name, "file"
	set.Warnings = append(set.Warnings, f.warnings()...)
	return nil
}

func (s Source) readPair(ctx context.Context, d *Devices, set *signer.Set, pin device.PIN) error {
	var err error
	if set.CertificateName, set.Certificates, err = certificates("certificate", s.Certificate); err != nil {
		return err
	}
	set.KeyName = s.keyName()
	switch {
	case strings.HasPrefix(s.PrivateKey, "tpm2:"):
		return s.readTPM(ctx, d, set, pin)
	case strings.HasPrefix(s.PrivateKey, "pkcs11:"):
		uri, err := pkcs11.Parse(s.PrivateKey)
		set.KeyPlace = "pkcs11"
		set.Key = func(leaf *x509.Certificate) (crypto.Signer, error) {
			key, err := d.modules.Open(ctx, &d.guard, uri, pin, leaf)
			return key, named(set.KeyName, err)
		}
		return named(set.KeyName, err)
	}
	f, err := read("private key", s.PrivateKey)
	if err != nil {
		return err
	}
	set.KeyPlace = "file"
	set.Key = func(*x509.Certificate) (crypto.Signer, error) { return f.PrivateKey(pin.Value) }
	set.Warnings = append(set.Warnings, f.warnings()...)
	return nil
}

func (s Source) readTPM(ctx context.Context, d *Devices, set *signer.Set, pin device.PIN) error {
	ref, err := tpm.Parse(s.PrivateKey)
	if err != nil {
		return named(set.KeyName, err)
	}
	var f file
	if ref.Path != "" {
		if f, err = read("private key", ref.Path); err != nil {
			return err
		}
	}
	set.KeyPlace = "tpm2"
	set.Key = func(leaf *x509.Certificate) (crypto.Signer, error) {
		key, err := tpm.Open(ctx, &d.guard, ref, f.Data, pin, leaf)
		return key, named(set.KeyName, err)
	}
	return nil
}

func named(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}

func certificates(what, path string) (string, []*x509.Certificate, error) {
	f, err := read(what, path)
	if err != nil {
		return "", nil, err
	}
	list, err := f.Certificates()
	return f.Name, list, err
}
