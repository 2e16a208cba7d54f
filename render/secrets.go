package render

// Secrets returns the names of the secrets that the text can reach: all that
// the app has where it cannot be told. It is not to be changed.
func (t *Template) Secrets() []string { return t.secrets }
