package session

import "testing"

func TestURLOfSTS(t *testing.T) {
	for want, c := range map[string]Chained{
		"https://sts.eu-west-3.amazonaws.com":      {Region: "eu-west-3"},
		"https://sts-fips.us-east-1.amazonaws.com": {Region: "us-east-1", FIPS: true},
		"https://sts.internal":                     {Region: "eu-west-3", Endpoint: "https://sts.internal"},
	} {
		if got, err := c.URL(t.Context()); got != want || err != nil {
			t.Errorf("URL of %+v = %q, %v, want %q", c, got, err, want)
		}
	}
}
