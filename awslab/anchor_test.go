package awslab

import (
	"net/http"
	"testing"
)

func TestATrustAnchorMayHaveASecondAuthority(t *testing.T) {
	lab, other := newLab(t, Options{}), newLab(t, Options{})
	opens := func(from *Lab) int {
		a := newAsker(t, from, LeafOptions{})
		a.body = newAsker(t, lab, LeafOptions{}).body
		resp, _ := do(t, lab, a.request(t))
		return resp.StatusCode
	}
	if got := opens(other); got != http.StatusForbidden {
		t.Errorf("before Trust a leaf of the second authority gets %d, want 403", got)
	}
	if err := lab.Trust(other.CACertificatePEM()); err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]*Lab{"first": lab, "second": other} {
		if got := opens(from); got != http.StatusCreated {
			t.Errorf("a leaf of the %s authority gets %d, want 201", name, got)
		}
	}
}

func TestATrustAnchorIsAnAuthority(t *testing.T) {
	lab := newLab(t, Options{})
	leaf, key, _, err := lab.Issue(LeafOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name, certificate := range map[string][]byte{"a leaf": leaf, "a key": key, "nothing": nil} {
		if err := lab.Trust(certificate); err == nil {
			t.Errorf("%s is taken for a trust anchor", name)
		}
	}
}
