package store

import (
	"testing"

	"outrider/secret"
)

func TestPlaceURL(t *testing.T) {
	for name, test := range map[string]struct {
		place Place
		kind  secret.Kind
		want  string
	}{
		"secrets":              {Place{Region: "eu-west-3"}, secret.SecretsManager, "https://secretsmanager.eu-west-3.amazonaws.com"},
		"a parameter":          {Place{Region: "eu-west-3"}, secret.Parameter, "https://ssm.eu-west-3.amazonaws.com"},
		"a path of parameters": {Place{Region: "cn-north-1"}, secret.Parameters, "https://ssm.cn-north-1.amazonaws.com.cn"},
		"FIPS":                 {Place{Region: "us-east-1", FIPS: true}, secret.SecretsManager, "https://secretsmanager-fips.us-east-1.amazonaws.com"},
		"dual stack":           {Place{Region: "eu-west-3", DualStack: true}, secret.Parameter, "https://ssm.eu-west-3.api.aws"},
		"an endpoint given":    {Place{Region: "eu-west-3", Endpoint: "https://vpce.internal"}, secret.Parameter, "https://vpce.internal"},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := test.place.URL(t.Context(), test.kind); got != test.want || err != nil {
				t.Errorf("URL = %q, %v, want %q", got, err, test.want)
			}
		})
	}
}
