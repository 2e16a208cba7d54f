package tpm

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"outrider/secret"
	"outrider/signer/internal/device"
)

// Open returns the key that ref names, once it has signed with it for the
// leaf. File is the content of ref.Path, if it has one. The key holds nothing
// of the TPM between signatures. Every error says what to do.
func Open(ctx context.Context, guard *device.Guard, ref Ref, file []byte, pin device.PIN, leaf *x509.Certificate) (*device.Key, error) {
	k := key{ref: ref, pinned: pin.Given(), leaf: leaf}
	if ref.Path != "" {
		var err error
		if k.file, err = parseKeyFile(file); err != nil {
			return nil, err
		}
	}
	opened := &device.Key{
		Guard: guard, Device: ref.Device,
		Name:  fmt.Sprintf("tpm2 %+v %x", ref, sha256.Sum256(file)),
		PIN:   pin,
		Pub:   leaf.PublicKey,
		Signs: k.sign,
	}
	return opened, opened.Try(ctx)
}

// key is how to reach a key.
type key struct {
	ref    Ref
	file   keyFile // when ref has a path
	pinned bool    // there is a password
	leaf   *x509.Certificate
}

// loaded is a key as the TPM knows it.
type loaded struct {
	handle tpm2.TPMHandle
	name   tpm2.TPM2BName
	public *tpm2.TPMTPublic
}

func (k key) sign(ctx context.Context, pin secret.Value, digest []byte) ([]byte, error) {
	tpm, err := open(ctx, k.ref.Device)
	if err != nil {
		return nil, err
	}
	defer tpm.Close()
	l, err := k.load(tpm)
	if err != nil {
		return nil, err
	}
	if k.ref.Path != "" {
		defer flush(tpm, l.handle)
	}
	if !l.belongs(k.leaf) {
		return nil, fmt.Errorf("does not belong to the certificate of %q (serial %s); put the one that was issued for it in place",
			k.leaf.Subject, k.leaf.SerialNumber)
	}
	if !l.public.ObjectAttributes.NoDA {
		if err := spare(tpm); err != nil {
			return nil, err
		}
	}
	session := tpm2.PasswordAuth(nil)
	if k.pinned { // an HMAC: the password itself does not go over the TPM's bus
		session = tpm2.HMAC(tpm2.TPMAlgSHA256, sha256.Size, tpm2.Auth(pin.Reveal()))
	}
	answer, err := tpm2.Sign{
		KeyHandle:  tpm2.AuthHandle{Handle: l.handle, Name: l.name, Auth: session},
		Digest:     tpm2.TPM2BDigest{Buffer: digest},
		InScheme:   scheme(l.public.Type),
		Validation: tpm2.TPMTTKHashCheck{Tag: tpm2.TPMSTHashCheck, Hierarchy: tpm2.TPMRHNull},
	}.Execute(tpm)
	if err != nil {
		return nil, k.explain(err)
	}
	return encode(answer.Signature)
}

// load makes the TPM know the key, as the handle that it has or as one that
// the caller flushes.
func (k key) load(tpm transport.TPM) (loaded, error) {
	if k.ref.Path == "" {
		handle := tpm2.TPMHandle(k.ref.Handle)
		answer, err := tpm2.ReadPublic{ObjectHandle: handle}.Execute(tpm)
		if errors.Is(err, tpm2.TPMRCHandle) {
			return loaded{}, fmt.Errorf("there is no key at handle %#x; tpm2_getcap handles-persistent lists them", k.ref.Handle)
		}
		if err != nil {
			return loaded{}, fmt.Errorf("read the key's public half: %w", err)
		}
		public, err := answer.OutPublic.Contents()
		return loaded{handle, answer.Name, public}, err
	}
	parent, err := k.file.loadParent(tpm)
	if err != nil {
		return loaded{}, err
	}
	if k.file.parent>>24 == permanent {
		defer flush(tpm, parent.Handle)
	}
	answer, err := tpm2.Load{
		ParentHandle: parent,
		InPrivate:    k.file.private,
		InPublic:     k.file.public,
	}.Execute(tpm)
	if errors.Is(err, tpm2.TPMRCIntegrity) {
		return loaded{}, errors.New("was made by another TPM, or before this one was cleared; make it anew")
	}
	if err != nil {
		return loaded{}, fmt.Errorf("load it under its parent %#x: %w", k.file.parent, err)
	}
	public, err := k.file.public.Contents()
	return loaded{answer.ObjectHandle, answer.Name, public}, err
}

// loadParent returns the key's parent, which the caller flushes when it was
// made anew from its hierarchy.
func (f keyFile) loadParent(tpm transport.TPM) (tpm2.AuthHandle, error) {
	handle, auth := tpm2.TPMHandle(f.parent), tpm2.PasswordAuth(nil)
	if f.parent>>24 == persistent {
		answer, err := tpm2.ReadPublic{ObjectHandle: handle}.Execute(tpm)
		if err != nil {
			return tpm2.AuthHandle{}, fmt.Errorf("read its parent %#x: %w; make the parent, then the key, anew", f.parent, err)
		}
		return tpm2.AuthHandle{Handle: handle, Name: answer.Name, Auth: auth}, nil
	}
	answer, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.AuthHandle{Handle: handle, Auth: auth},
		InPublic:      tpm2.New2B(f.primary()),
	}.Execute(tpm)
	if err != nil {
		return tpm2.AuthHandle{}, fmt.Errorf("make its parent: %w; a hierarchy with a password needs a parent at a persistent handle", err)
	}
	return tpm2.AuthHandle{Handle: answer.ObjectHandle, Name: answer.Name, Auth: auth}, nil
}

// flush makes room in the TPM. When it fails, so has what came before it.
func flush(tpm transport.TPM, handle tpm2.TPMHandle) {
	_, _ = tpm2.FlushContext{FlushHandle: handle}.Execute(tpm)
}

func (l loaded) belongs(leaf *x509.Certificate) bool {
	public, err := tpm2.Pub(*l.public)
	want, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	return err == nil && ok && want.Equal(public)
}

// spare refuses to risk the last wrong password before the TPM locks, for
// whatever else it keeps as well: that one is left to a person.
func spare(tpm transport.TPM) error {
	answer, err := tpm2.GetCapability{
		Capability: tpm2.TPMCapTPMProperties, Property: uint32(tpm2.TPMPTLockoutCounter), PropertyCount: 2,
	}.Execute(tpm)
	if err != nil {
		return fmt.Errorf("ask how near it is to its lockout: %w", err)
	}
	properties, err := answer.CapabilityData.Data.TPMProperties()
	if err != nil || len(properties.TPMProperty) != 2 {
		return err
	}
	failed, most := properties.TPMProperty[0].Value, properties.TPMProperty[1].Value
	if failed > 0 && failed+1 >= most {
		return fmt.Errorf("the TPM has met %d wrong passwords and locks at %d, so none is tried; wait, or tpm2_dictionarylockout --clear-lockout", failed, most)
	}
	return nil
}

// explain says what a failed signature means.
func (k key) explain(err error) error {
	switch {
	case (errors.Is(err, tpm2.TPMRCAuthFail) || errors.Is(err, tpm2.TPMRCBadAuth)) && k.pinned:
		return &device.RefusedError{Reason: "its password is wrong; correct the file that password_file names, it is not tried again until that changes"}
	case errors.Is(err, tpm2.TPMRCAuthFail), errors.Is(err, tpm2.TPMRCBadAuth):
		return &device.RefusedError{Reason: "asks for a password; name a file with it in password_file"}
	case errors.Is(err, tpm2.TPMRCLockout):
		return errors.New("the TPM is locked after too many wrong passwords; wait, or tpm2_dictionarylockout --clear-lockout")
	case errors.Is(err, tpm2.TPMRCScheme), errors.Is(err, tpm2.TPMRCTicket), errors.Is(err, tpm2.TPMRCAttributes), errors.Is(err, tpm2.TPMRCKey):
		return fmt.Errorf("is not for signing any SHA-256 digest (%w); make it for signing, unrestricted, without a scheme of its own", err)
	}
	return fmt.Errorf("sign: %w", err)
}

func scheme(kind tpm2.TPMAlgID) tpm2.TPMTSigScheme {
	algorithm := tpm2.TPMAlgECDSA
	if kind == tpm2.TPMAlgRSA {
		algorithm = tpm2.TPMAlgRSASSA
	}
	return tpm2.TPMTSigScheme{
		Scheme:  algorithm,
		Details: tpm2.NewTPMUSigScheme(algorithm, &tpm2.TPMSSchemeHash{HashAlg: tpm2.TPMAlgSHA256}),
	}
}

// encode gives a signature the form that crypto.Signer has.
func encode(s tpm2.TPMTSignature) ([]byte, error) {
	if s.SigAlg == tpm2.TPMAlgRSASSA {
		rsa, err := s.Signature.RSASSA()
		if err != nil {
			return nil, err
		}
		return rsa.Sig.Buffer, nil
	}
	ec, err := s.Signature.ECDSA()
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(struct{ R, S *big.Int }{
		new(big.Int).SetBytes(ec.SignatureR.Buffer), new(big.Int).SetBytes(ec.SignatureS.Buffer),
	})
}
