package cost

// Bill is what a plan's calls come to, on so many hosts.
type Bill struct {
	Calls   []Line  `json:"calls"`
	PerDay  float64 `json:"calls_per_day"`
	Dollars float64 `json:"usd_per_month"`                          // of all calls
	KMS     float64 `json:"kms_usd_per_month_at_most"`              // where customer keys protect everything that is read
	SSM     float64 `json:"ssm_usd_per_month_at_higher_throughput"` // at standard throughput its calls are free
}

// Line is one operation on a Bill.
type Line struct {
	Service   string  `json:"service"`
	Operation string  `json:"operation"`
	PerDay    float64 `json:"calls_per_day"`
	Dollars   float64 `json:"usd_per_month"`
}

// Bill adds up what the plan costs on so many hosts.
func (p Plan) Bill(hosts int) Bill {
	var b Bill
	for _, c := range p.Foretell() {
		n := float64(hosts)
		line := Line{Service: c.Service, Operation: c.Operation, PerDay: n * c.PerDay, Dollars: n * c.Dollars()}
		b.Calls = append(b.Calls, line)
		b.PerDay += line.PerDay
		b.Dollars += line.Dollars
		b.KMS += n * monthly(c.Values) * priceOf("kms")
		if c.Service == "ssm" {
			b.SSM += n * monthly(c.Billed) * priceOf("ssm at higher throughput")
		}
	}
	return b
}

// Stored is what the plan's secrets cost a month, in US dollars, once for the
// account: whoever reads them, and whether anybody does.
func (p Plan) Stored() float64 {
	n := 0
	for _, r := range p.Roles {
		n += r.Stored
	}
	return float64(n) * storedSecret
}
