// Package doctor tells what would keep this host from working, and how to mend it.
package doctor

// Verdict says how one thing that was looked at stands.
type Verdict string

// The verdicts, from good to bad.
const (
	OK   Verdict = "ok"
	Warn Verdict = "warn" // it works, and should be mended
	Fail Verdict = "fail"
)

// Finding is what there is to say of one thing, on one line. It holds no value
// of a secret.
type Finding struct {
	Verdict Verdict `json:"verdict"`
	Subject string  `json:"subject"` // "identity host", "app billing"
	Text    string  `json:"text"`
	Remedy  string  `json:"remedy,omitempty"` // where the text does not say it
}

// String returns the line without the verdict.
func (f Finding) String() string {
	if f.Remedy == "" {
		return f.Subject + ": " + f.Text
	}
	return f.Subject + ": " + f.Text + "; " + f.Remedy
}
