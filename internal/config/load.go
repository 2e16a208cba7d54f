package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// sizeLimit bounds each file that Load reads, in bytes.
const sizeLimit = 1 << 20

// Load reads the file at path, the files apps.d/*.yaml beside it and the
// templates that they name, and checks all of it. Getenv, which may be
// os.Getenv, gives the AWS_ENDPOINT_URL variables, OUTRIDER_INSTANCE and
// CREDENTIALS_DIRECTORY. The error is always Mistakes.
func Load(path string, getenv func(string) string) (*Config, error) {
	r := &reader{
		config:       &Config{},
		getenv:       getenv,
		entries:      make(map[string]*value),
		destinations: make(map[string]*value),
		templates:    make(map[string]template),
		judged:       make(map[string]bool),
	}
	r.load(path)
	if len(r.mistakes) > 0 {
		r.mistakes.sort()
		return nil, r.mistakes
	}
	return r.config, nil
}

func (r *reader) load(path string) {
	r.environment()
	t := configTable()
	r.file(path, t, "; write it, or name another with --config (docs/configuration.md has a sample)")
	t.keys = slices.DeleteFunc(t.keys, func(k key[Config]) bool { return k.name != "apps" })

	folder := filepath.Join(filepath.Dir(path), "apps.d")
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.wrong(folder, cause(err))
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".yaml" && !strings.HasPrefix(e.Name(), ".") {
			r.file(filepath.Join(folder, e.Name()), t, "")
		}
	}
	r.checkDestinations()
	r.checkCredentials()
	r.checkConfine()
	if len(r.mistakes) == 0 {
		r.distrustNamed()
	}
}

// file reads one file of the configuration. Remedy is said when it is not
// there.
func (r *reader) file(path string, t table[Config], remedy string) {
	whole, err := filepath.Abs(path)
	var text []byte
	var st *syscall.Stat_t
	if err == nil {
		text, st, err = readFile(whole)
	}
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			remedy = ""
		}
		r.wrong(path, cause(err)+remedy)
		return
	}
	r.distrust(whole, st, false)
	r.config.Files = append(r.config.Files, whole)
	r.config.File = r.config.Files[0]
	from := &source{name: path, folder: filepath.Dir(whole), instance: r.instance, credentials: r.getenv("CREDENTIALS_DIRECTORY")}
	if v := r.document(from, text); v != nil {
		t.read(r, v, r.config)
	}
}

// environment reads what the environment may say.
func (r *reader) environment() {
	r.instance = r.getenv("OUTRIDER_INSTANCE")
	if strings.ContainsAny(r.instance, "/\x00") || r.instance == "." || r.instance == ".." {
		r.wrong("OUTRIDER_INSTANCE", fmt.Sprintf("%q cannot be part of a file's name", r.instance))
	}
	all := r.variable("AWS_ENDPOINT_URL", "")
	r.endpoints = Endpoints{
		RolesAnywhere:  r.variable("AWS_ENDPOINT_URL_ROLESANYWHERE", all),
		SecretsManager: r.variable("AWS_ENDPOINT_URL_SECRETS_MANAGER", all),
		SSM:            r.variable("AWS_ENDPOINT_URL_SSM", all),
		SQS:            r.variable("AWS_ENDPOINT_URL_SQS", all),
		STS:            r.variable("AWS_ENDPOINT_URL_STS", all),
	}
}

// variable returns the endpoint that an environment variable holds, or
// preset when it is not set.
func (r *reader) variable(name, preset string) string {
	text := r.getenv(name)
	if text == "" {
		return preset
	}
	url, err := endpoint().parse(nil, text)
	if err != nil {
		r.wrong(name, err.Error())
	}
	return url
}

// readFile reads a regular file of at most sizeLimit. It never waits for
// somebody to write, as a read from a fifo would.
func readFile(path string) ([]byte, *syscall.Stat_t, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() {
		return nil, nil, errors.New("not a regular file")
	}
	text, err := io.ReadAll(io.LimitReader(f, sizeLimit+1))
	if err == nil && len(text) > sizeLimit {
		err = errors.New("larger than 1 MiB")
	}
	return text, st, err
}

// cause is why a file could not be read, without the path, which the
// Mistake names already.
func cause(err error) string {
	var pe *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "no such file"
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("user %d may not read it", os.Geteuid())
	case errors.As(err, &pe):
		return pe.Err.Error()
	}
	return err.Error()
}
