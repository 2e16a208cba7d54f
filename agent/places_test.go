package agent

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outrider/awslab"
	"outrider/internal/config"
	"outrider/internal/programtest"
	"outrider/serve"
)

// regions sends each request to the lab of the region in its host name.
type regions map[string]*awslab.Lab

func (r regions) RoundTrip(q *http.Request) (*http.Response, error) {
	for region, lab := range r {
		if strings.Contains(q.URL.Host, "."+region+".") {
			return lab.RoundTripper().RoundTrip(q)
		}
	}
	return r["us-east-1"].RoundTripper().RoundTrip(q)
}

func TestFallbackRegionServesWhileTheOwnOneIsDown(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		other, err := h.lab.Neighbor("eu-central-1")
		if err != nil {
			t.Fatal(err)
		}
		h.put("a", "1")
		c := h.config(time.Minute, h.app("one", "a"))
		role := c.Roles["role"]
		role.Fallback = []config.Fallback{{Region: "eu-central-1", TrustAnchor: other.Setup().TrustAnchor, Profile: other.Setup().Profile}}
		c.Roles["role"] = role
		o := h.options()
		o.Transport = regions{"us-east-1": h.lab, "eu-central-1": other}
		a, err := New(c, o)
		if err != nil {
			t.Fatal(err)
		}
		down := awslab.Fault{Kind: awslab.Drop, Service: "rolesanywhere"}
		if err := h.lab.AddFault(down); err != nil {
			t.Fatal(err)
		}
		stop := h.run(a)
		defer stop()
		time.Sleep(time.Minute)
		if got := h.read("one"); got != "1\n" {
			t.Fatalf("no file while the own region is down: %+v", a.Status(serve.Self()).Apps["one"])
		}
		if got := a.Status(serve.Self()).Roles["role"].Region; got != "eu-central-1" {
			t.Errorf("the session is of %s, want the fallback region", got)
		}
		h.lab.ResetCalls()
		time.Sleep(24 * time.Hour)
		// Renewed every half hour, and each time the own region is tried when
		// its breaker has closed: once, not at every attempt of a storm.
		if got := h.lab.Calls()["rolesanywhere.CreateSession"]; got < 20 || got > 60 {
			t.Errorf("the region that is down was tried %d times in a day, want about 48", got)
		}
		h.lab.ClearFaults()
		time.Sleep(time.Hour)
		if got := a.Status(serve.Self()).Roles["role"].Region; got != "us-east-1" {
			t.Errorf("an hour after it is back the session is of %s, want the own region", got)
		}
	})
}

func TestRefusalIsNotTakenForAnOutage(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		other, err := h.lab.Neighbor("eu-central-1")
		if err != nil {
			t.Fatal(err)
		}
		c := h.config(time.Minute, h.app("one", "a"))
		role := c.Roles["role"]
		role.Profile += "0"
		role.Fallback = []config.Fallback{{Region: "eu-central-1", TrustAnchor: other.Setup().TrustAnchor, Profile: other.Setup().Profile}}
		c.Roles["role"] = role
		o := h.options()
		o.Transport = regions{"us-east-1": h.lab, "eu-central-1": other}
		a, err := New(c, o)
		if err != nil {
			t.Fatal(err)
		}
		stop := h.run(a)
		defer stop()
		time.Sleep(10 * time.Minute)
		if got := other.Calls()["rolesanywhere.CreateSession"]; got != 0 {
			t.Errorf("the fallback region was asked %d times for what the own one refused", got)
		}
	})
}

func TestRoleIsChainedAndRenewedAsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const further = "arn:aws:iam::444455556666:role/further"
		lab, err := awslab.New(awslab.Options{Now: time.Now, SessionDuration: 12 * time.Hour, Assumable: []string{further}})
		if err != nil {
			t.Fatal(err)
		}
		h := &house{t: t, dir: t.TempDir(), lab: lab, log: &programtest.Log{}}
		if h.setup, err = lab.Write(h.dir); err != nil {
			t.Fatal(err)
		}
		h.put("a", "1")
		c := h.config(time.Hour, h.app("one", "a"))
		role := c.Roles["role"]
		role.Assume = []string{further}
		c.Roles["role"] = role
		a := h.agent(c)
		stop := h.run(a)
		defer stop()
		for range 48 {
			time.Sleep(30 * time.Minute)
			got := a.Status(serve.Self()).Roles["role"]
			if got.Expires == nil || time.Until(*got.Expires) > time.Hour || time.Until(*got.Expires) < 15*time.Minute {
				t.Fatalf("the chained session ends %v (error %q), want within the hour and later than 15m", got.Expires, got.Error)
			}
		}
		if h.read("one") != "1\n" {
			t.Error("no file through the chained role")
		}
	})
}
