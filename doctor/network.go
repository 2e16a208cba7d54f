package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// tolerance is how far clocks may stand apart. AWS takes about five minutes;
// Date has whole seconds.
const tolerance = time.Minute

// Network is how this host reaches others. The zero Network is how programs
// written in Go do.
type Network struct {
	Transport http.RoundTripper                     // nil: http.DefaultTransport
	Proxy     func(*http.Request) (*url.URL, error) // nil: HTTPS_PROXY and NO_PROXY
	Resolve   func(context.Context, string) error   // nil: the system's resolver
}

// Reach is what was learnt of the way to an endpoint.
type Reach struct {
	Finding
	Dated bool          // the endpoint said what time it is
	Skew  time.Duration // its clock minus this host's
}

// Look sends one request without credentials to the endpoint at a URL, whose
// answer may be any, and tells of name, proxy, TLS and clock on the way. It
// blocks until there is an answer or ctx ends.
func (n Network) Look(ctx context.Context, endpoint string) Reach {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint, nil)
	if err != nil {
		return Reach{Finding: Finding{Fail, "endpoint", err.Error(), ""}}
	}
	r.Header.Set("User-Agent", "outrider")
	subject := "endpoint " + r.URL.Host
	way, err := n.way(ctx, r)
	if err != nil {
		return Reach{Finding: Finding{Fail, subject, err.Error(), networkRemedy(err)}}
	}
	transport := n.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	res, err := transport.RoundTrip(r)
	if err != nil {
		return Reach{Finding: Finding{Fail, subject, way + ": " + reason(err), networkRemedy(err)}}
	}
	_ = res.Body.Close()
	reach := Reach{Finding: Finding{Verdict: OK, Subject: subject, Text: way}}
	if date, err := http.ParseTime(res.Header.Get("Date")); err == nil && res.Header.Get("Age") == "" {
		reach.Dated, reach.Skew = true, time.Until(date).Round(time.Second)
	}
	if res.TLS != nil && len(res.TLS.PeerCertificates) > 0 {
		reach.judge(r.URL.Hostname(), res.TLS)
	}
	return reach
}

// way says how the endpoint is reached: through a proxy, which resolves its
// name, or directly.
func (n Network) way(ctx context.Context, r *http.Request) (string, error) {
	proxy := n.Proxy
	if proxy == nil {
		proxy = http.ProxyFromEnvironment
	}
	by, err := proxy(r)
	if err != nil {
		return "", fmt.Errorf("proxy: %w", err)
	}
	if by != nil {
		return "through the proxy " + by.Host, nil
	}
	if _, err := netip.ParseAddr(r.URL.Hostname()); err == nil {
		return "directly", nil
	}
	resolve := n.Resolve
	if resolve == nil {
		resolve = func(ctx context.Context, host string) error {
			_, err := net.DefaultResolver.LookupHost(ctx, host)
			return err
		}
	}
	return "directly", resolve(ctx, r.URL.Hostname())
}

// judge looks at who vouches for an endpoint of AWS: in the partition aws
// Amazon itself does, so that another issuer is somebody in between, whom this
// host trusts.
func (r *Reach) judge(host string, state *tls.ConnectionState) {
	issuer := state.PeerCertificates[0].Issuer
	by := cmp.Or(strings.Join(issuer.Organization, " "), issuer.CommonName)
	r.Text += ", certificate by " + by
	if amazons(host) && by != "Amazon" {
		r.Verdict = Warn
		r.Text += ", which is not Amazon: somebody in between opens TLS and sees the secrets"
		r.Remedy = "have the proxy let this host's traffic to AWS through unopened"
	}
}

func amazons(host string) bool {
	return strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".api.aws")
}

// Clock judges this host's clock by what endpoints said.
func Clock(reached []Reach) Finding {
	f := Finding{Verdict: Warn, Subject: "clock", Text: "no endpoint has told the time"}
	for _, r := range reached {
		if !r.Dated {
			continue
		}
		switch {
		case r.Skew.Abs() <= tolerance:
			return Finding{Verdict: OK, Subject: "clock", Text: "as AWS's, within a minute"}
		case r.Skew > 0:
			f.Text = fmt.Sprintf("%s behind AWS's", r.Skew)
		default:
			f.Text = fmt.Sprintf("%s ahead of AWS's", -r.Skew)
		}
		f.Remedy = "set it, and keep it by NTP; until then requests are signed with AWS's time"
	}
	return f
}

// reason is err without the URL that Go's transport puts before it.
func reason(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if unknown, ok := errors.AsType[x509.UnknownAuthorityError](err); ok && unknown.Cert != nil {
		return fmt.Sprintf("the certificate is issued by %q, whom this host does not trust", unknown.Cert.Issuer)
	}
	return err.Error()
}

func networkRemedy(err error) string {
	op, _ := errors.AsType[*net.OpError](err)
	invalid, _ := errors.AsType[x509.CertificateInvalidError](err)
	switch {
	case op != nil && op.Op == "proxyconnect", strings.HasPrefix(err.Error(), "proxy: "):
		return "check HTTPS_PROXY and NO_PROXY"
	case is[*net.DNSError](err):
		return "check region and the name servers"
	case invalid.Cert != nil && invalid.Reason == x509.Expired:
		return "check this host's clock"
	case is[x509.UnknownAuthorityError](err):
		return "if a proxy opens TLS, name its CA in aws.ca_bundle"
	case is[*tls.CertificateVerificationError](err):
		return "see who answers in AWS's place"
	default:
		return "check the route, the firewall and HTTPS_PROXY"
	}
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
