//go:build pkcs11 && cgo

package pkcs11

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/miekg/pkcs11"

	"outrider/secret"
	"outrider/signer/internal/device"
)

// maxKeys bounds how many keys of a token are looked at.
const maxKeys = 64

// key is how to reach a private key.
type key struct {
	modules *Modules
	uri     URI
	pin     device.PIN
	leaf    *x509.Certificate
}

// session is an open session with the key's token.
type session struct {
	*pkcs11.Ctx
	handle pkcs11.SessionHandle
	token  pkcs11.TokenInfo
}

// sign signs with a module that may have been started long ago: one that has
// lost its device since gets another chance, started anew.
func (k key) sign(ctx context.Context, _ secret.Value, digest []byte) ([]byte, error) {
	for again := false; ; again = true {
		c, fresh, err := k.modules.start(k.uri.module)
		if err != nil {
			return nil, err
		}
		signature, err := k.signWith(c, digest)
		if err == nil {
			return signature, nil
		}
		k.modules.stop(k.uri.module)
		if _, refused := errors.AsType[*device.RefusedError](err); refused || fresh || again || ctx.Err() != nil {
			return nil, err
		}
	}
}

func (k key) signWith(c *pkcs11.Ctx, digest []byte) ([]byte, error) {
	slot, token, err := k.slot(c)
	if err != nil {
		return nil, err
	}
	handle, err := c.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return nil, fmt.Errorf("token %q: open a session: %w", token.Label, err)
	}
	defer func() { _ = c.CloseSession(handle) }() // the last one logs out
	s := session{c, handle, token}
	if err := k.login(s); err != nil {
		return nil, fmt.Errorf("token %q: %w", token.Label, err)
	}
	signature, err := k.signIn(s, digest)
	if err != nil {
		return nil, fmt.Errorf("token %q: %w", token.Label, err)
	}
	return signature, nil
}

// slot finds the one token that the URI names.
func (k key) slot(c *pkcs11.Ctx) (uint, pkcs11.TokenInfo, error) {
	var found []uint
	var token pkcs11.TokenInfo
	var others []string
	library, err := c.GetInfo()
	if err != nil {
		return 0, token, fmt.Errorf("module %s: %w", k.uri.module, err)
	}
	slots, err := c.GetSlotList(true)
	if err != nil {
		return 0, token, fmt.Errorf("module %s: list its tokens: %w", k.uri.module, err)
	}
	for _, id := range slots {
		slot, err := c.GetSlotInfo(id)
		info, terr := c.GetTokenInfo(id)
		if err != nil || terr != nil || info.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 {
			continue
		}
		if k.matches(id, library, slot, info) {
			found, token = append(found, id), info
			continue
		}
		others = append(others, strconv.Quote(info.Label))
	}
	switch {
	case len(found) == 1:
		return found[0], token, nil
	case len(found) > 1:
		return 0, token, fmt.Errorf("%d tokens of module %s fit the URI; add token=, serial= or slot-id=", len(found), k.uri.module)
	case len(others) > 0:
		return 0, token, fmt.Errorf("no token of module %s fits the URI; it has %s", k.uri.module, strings.Join(others, ", "))
	}
	return 0, token, fmt.Errorf("module %s has no token; plug it in, or see the module's own configuration", k.uri.module)
}

// matches reports whether a token has all that the URI asks for.
func (k key) matches(id uint, library pkcs11.Info, slot pkcs11.SlotInfo, token pkcs11.TokenInfo) bool {
	version := fmt.Sprintf("%d.%d", library.LibraryVersion.Major, library.LibraryVersion.Minor)
	for name, has := range map[string]string{
		"token": token.Label, "manufacturer": token.ManufacturerID, "serial": token.SerialNumber, "model": token.Model,
		"slot-id": strconv.FormatUint(uint64(id), 10), "slot-manufacturer": slot.ManufacturerID, "slot-description": slot.SlotDescription,
		"library-manufacturer": library.ManufacturerID, "library-description": library.LibraryDescription, "library-version": version,
	} {
		if want, given := k.uri.attributes[name]; given && strings.TrimRight(want, " ") != has {
			return false
		}
	}
	return true
}

// login shows the PIN, unless the token is about to lock: its last try is left
// to a person.
func (k key) login(s session) error {
	has := func(flag uint) bool { return s.token.Flags&flag != 0 }
	switch {
	case !has(pkcs11.CKF_LOGIN_REQUIRED):
		return nil
	case !k.pin.Given():
		return errors.New("asks for a PIN; name a file with it in password_file")
	case has(pkcs11.CKF_USER_PIN_LOCKED):
		return errors.New("its PIN is locked after too many wrong ones; set a new one as its security officer")
	case has(pkcs11.CKF_USER_PIN_FINAL_TRY):
		return errors.New("one more wrong PIN locks it, so none is tried; log in once by hand, with pkcs11-tool --login perhaps")
	}
	return k.show(s, pkcs11.CKU_USER)
}

func (k key) show(s session, user uint) error {
	err := s.Login(s.handle, user, string(k.pin.Value.Reveal()))
	e, _ := errors.AsType[pkcs11.Error](err)
	switch uint(e) {
	case pkcs11.CKR_OK, pkcs11.CKR_USER_ALREADY_LOGGED_IN:
		return nil
	case pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE:
		return &device.RefusedError{Reason: fmt.Sprintf("the PIN in %s is wrong; correct it, it is not tried again until that file changes", k.pin.Path)}
	case pkcs11.CKR_PIN_LOCKED:
		return &device.RefusedError{Reason: "its PIN is locked after too many wrong ones; set a new one as its security officer"}
	}
	return fmt.Errorf("log in: %w", err)
}

// signIn signs with the one key, among those that the URI names, whose
// signature is the certificate's. A token need not tell the public half of a
// key, and during a renewal it holds two under one name.
func (k key) signIn(s session, digest []byte) ([]byte, error) {
	objects, err := k.objects(s)
	if err != nil {
		return nil, err
	}
	if len(objects) == 0 {
		return nil, fmt.Errorf("it holds no private key%s; pkcs11-tool --list-objects --login shows what it holds", k.uri.named())
	}
	var failure error
	for _, object := range objects {
		signature, err := k.signBy(s, object, digest)
		switch {
		case err != nil:
			failure = err
		case device.Fits(k.leaf.PublicKey, digest, signature):
			return signature, nil
		}
	}
	if failure != nil {
		return nil, failure
	}
	return nil, fmt.Errorf("it holds %d private keys%s, of which none belongs to the certificate of %q (serial %s); put the one that was issued for it in place",
		len(objects), k.uri.named(), k.leaf.Subject, k.leaf.SerialNumber)
}

// named tells which objects the URI asks for.
func (u URI) named() string {
	text := ""
	if label, given := u.attributes["object"]; given {
		text += fmt.Sprintf(" with the label %q", label)
	}
	if id, given := u.attributes["id"]; given {
		text += fmt.Sprintf(" with the id %x", id)
	}
	return text
}

// objects finds the private keys that the URI names.
func (k key) objects(s session) ([]pkcs11.ObjectHandle, error) {
	template := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY)}
	if label, given := k.uri.attributes["object"]; given {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_LABEL, label))
	}
	if id, given := k.uri.attributes["id"]; given {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_ID, id))
	}
	if err := s.FindObjectsInit(s.handle, template); err != nil {
		return nil, fmt.Errorf("look for the private key: %w", err)
	}
	objects, _, err := s.FindObjects(s.handle, maxKeys)
	if final := s.FindObjectsFinal(s.handle); err == nil {
		err = final
	}
	if err != nil {
		return nil, fmt.Errorf("look for the private key: %w", err)
	}
	return objects, nil
}

// signBy signs with one key. A key of another kind than the certificate's
// gives no signature.
func (k key) signBy(s session, object pkcs11.ObjectHandle, digest []byte) ([]byte, error) {
	kind, mechanism, message := uint(pkcs11.CKK_EC), uint(pkcs11.CKM_ECDSA), digest
	_, isRSA := k.leaf.PublicKey.(*rsa.PublicKey)
	if isRSA {
		kind, mechanism, message = pkcs11.CKK_RSA, pkcs11.CKM_RSA_PKCS, digestInfo(digest)
	}
	if is, err := s.number(object, pkcs11.CKA_KEY_TYPE); err != nil || is != kind {
		return nil, err
	}
	if err := s.SignInit(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)}, object); err != nil {
		return nil, fmt.Errorf("begin to sign: %w; the key must be one for signing", err)
	}
	if each, err := s.number(object, pkcs11.CKA_ALWAYS_AUTHENTICATE); err == nil && each != 0 {
		if err := k.show(s, pkcs11.CKU_CONTEXT_SPECIFIC); err != nil {
			return nil, err
		}
	}
	signature, err := s.Sign(s.handle, message)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	if isRSA {
		return signature, nil
	}
	// A token gives the two numbers side by side.
	half := len(signature) / 2
	return asn1.Marshal(struct{ R, S *big.Int }{
		new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:]),
	})
}

// number reads an attribute that is a CK_ULONG or a CK_BBOOL.
func (s session) number(object pkcs11.ObjectHandle, attribute uint) (uint, error) {
	values, err := s.GetAttributeValue(s.handle, object, []*pkcs11.Attribute{pkcs11.NewAttribute(attribute, nil)})
	if err != nil {
		return 0, fmt.Errorf("read of what kind the key is: %w", err)
	}
	switch value := values[0].Value; len(value) {
	case 8:
		return uint(binary.NativeEndian.Uint64(value)), nil
	case 1:
		return uint(value[0]), nil
	}
	return 0, errors.New("the token does not tell of what kind its key is")
}

// digestInfo is what PKCS#1 v1.5 signs (RFC 8017, 9.2): the hash's name and
// the hash. Every token knows that, few the hash and signature in one.
func digestInfo(digest []byte) []byte {
	return append([]byte{
		0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20,
	}, digest...)
}
