package cost

import "time"

// AsOf is when the prices were looked up, for us-east-1, before taxes and
// without free tiers, which an account has once for all that it does.
const AsOf = "November 2026"

// month is 730 hours, as AWS reckons.
const month = 730 * time.Hour

// price is what a call costs, by service.
type price struct {
	service string
	usd     float64 // for one call
	source  string
}

// prices is the table of what is charged for. What is not in it is free:
// CreateSession, AssumeRole, and the events of AWS's own services.
func prices() []price {
	return []price{
		{"secretsmanager", 0.05 / 10_000, "https://aws.amazon.com/secrets-manager/pricing/"},
		{"sqs", 0.40 / 1_000_000, "https://aws.amazon.com/sqs/pricing/"},
		{"ssm at higher throughput", 0.05 / 10_000, "https://aws.amazon.com/systems-manager/pricing/"},
		{"kms", 0.03 / 10_000, "https://aws.amazon.com/kms/pricing/"},
	}
}

// storedSecret is what one secret costs a month, read or not.
//
// Source: https://aws.amazon.com/secrets-manager/pricing/
const storedSecret = 0.40

// priceOf returns what one call of a service costs, in US dollars.
func priceOf(service string) float64 {
	for _, p := range prices() {
		if p.service == service {
			return p.usd
		}
	}
	return 0
}

// Sources returns the pages that the prices are from.
func Sources() []string {
	var all []string
	for _, p := range prices() {
		all = append(all, p.source)
	}
	return all
}

// monthly turns something a day into something a month.
func monthly(perDay float64) float64 { return perDay * month.Hours() / 24 }
