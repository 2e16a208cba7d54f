package tpm

import (
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// keyFile is a key that this TPM alone can load.
//
// Source: https://www.hansenpartnership.com/draft-bottomley-tpm2-keys.html
type keyFile struct {
	parent    uint32
	rsaParent bool
	public    tpm2.TPM2BPublic
	private   tpm2.TPM2BPrivate
}

// parseKeyFile reads a TSS2 PRIVATE KEY. Certificates around it are passed
// over.
func parseKeyFile(text []byte) (keyFile, error) {
	block, rest := pem.Decode(text)
	for block != nil && block.Type != "TSS2 PRIVATE KEY" {
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		return keyFile{}, errors.New("holds no TSS2 PRIVATE KEY, or it is cut short; make one with openssl genpkey -provider tpm2")
	}
	var k struct { // booleans are raw: some tools do not write them as DER has them
		Type        asn1.ObjectIdentifier
		EmptyAuth   asn1.RawValue `asn1:"optional,explicit,tag:0"`
		Policy      asn1.RawValue `asn1:"optional,explicit,tag:1"`
		Secret      []byte        `asn1:"optional,explicit,tag:2"`
		AuthPolicy  asn1.RawValue `asn1:"optional,explicit,tag:3"`
		Description string        `asn1:"optional,explicit,tag:4,utf8"`
		RSAParent   asn1.RawValue `asn1:"optional,explicit,tag:5"`
		Parent      int64
		Public      []byte
		Private     []byte
	}
	if _, err := asn1.Unmarshal(block.Bytes, &k); err != nil {
		return keyFile{}, errors.New("its TSS2 PRIVATE KEY is damaged; copy it anew")
	}
	f := keyFile{parent: uint32(k.Parent)} // some write it as a negative number
	if n := len(k.RSAParent.FullBytes); n > 0 {
		f.rsaParent = k.RSAParent.FullBytes[n-1] != 0
	}
	public, err := tpm2.Unmarshal[tpm2.TPM2BPublic](k.Public)
	private, perr := tpm2.Unmarshal[tpm2.TPM2BPrivate](k.Private)
	switch kind := f.parent >> 24; {
	case k.Type.String() != "2.23.133.10.1.3":
		return keyFile{}, errors.New("its TPM key is sealed data or yet to be imported, not one that can be loaded; make it in this TPM")
	case len(k.Policy.FullBytes) > 0 || len(k.AuthPolicy.FullBytes) > 0:
		return keyFile{}, errors.New("its TPM key asks for a policy, which is not played through here; make one with a password or none")
	case err != nil || perr != nil:
		return keyFile{}, errors.New("its TPM key is damaged; copy it anew")
	case f.parent != uint32(tpm2.TPMRHOwner) && kind != persistent:
		return keyFile{}, fmt.Errorf("its TPM key has the parent %#x; make it under the owner's hierarchy or a persistent handle", f.parent)
	}
	f.public, f.private = *public, *private
	return f, nil
}

// primary is what a parent in the owner's hierarchy is made from: template
// H-2, or H-1 for RSA, of the TCG's EK Credential Profile, B.4, as the format
// of key files has it.
func (f keyFile) primary() tpm2.TPMTPublic {
	if f.rsaParent {
		t := tpm2.RSASRKTemplate
		t.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{})
		return t
	}
	t := tpm2.ECCSRKTemplate
	t.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{})
	return t
}
