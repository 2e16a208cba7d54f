package store

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	smithy "github.com/aws/smithy-go/endpoints"

	"outrider/secret"
)

// Place is where references of one kind are read: an endpoint, or AWS's own
// for a region.
type Place struct {
	Region    string
	Endpoint  string // base URL; empty: AWS's own
	FIPS      bool   // not with Endpoint
	DualStack bool   // not with Endpoint
}

// URL returns the base URL for a kind of reference.
func (p Place) URL(ctx context.Context, kind secret.Kind) (string, error) {
	if p.Endpoint != "" {
		return p.Endpoint, nil
	}
	var found smithy.Endpoint
	var err error
	if kind == secret.SecretsManager {
		found, err = secretsmanager.NewDefaultEndpointResolverV2().ResolveEndpoint(ctx, secretsmanager.EndpointParameters{
			Region: aws.String(p.Region), UseFIPS: aws.Bool(p.FIPS), UseDualStack: aws.Bool(p.DualStack),
		})
	} else {
		found, err = ssm.NewDefaultEndpointResolverV2().ResolveEndpoint(ctx, ssm.EndpointParameters{
			Region: aws.String(p.Region), UseFIPS: aws.Bool(p.FIPS), UseDualStack: aws.Bool(p.DualStack),
		})
	}
	if err != nil {
		return "", fmt.Errorf("endpoint of region %s: %w", p.Region, err)
	}
	return found.URI.String(), nil
}
