package localfault

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"outrider/serve"
)

// fault is a row of the page.
type fault struct {
	name    string
	what    string // for the page
	config  string // of the app, or of more; empty: the whole app's
	prepare func(s *scene)
	early   bool // it strikes from the start
	judge   func(call) unix.Errno
	begin   func(s *scene)
	end     func(s *scene)
	well    func(s *scene) bool // after the end, besides what always is
	hides   bool                // the file's folder is not to be seen meanwhile
	seen    func(log int) bool  // it shows, in the log from there on or otherwise; nil: in the log
	silent  bool                // nothing shows
	slow    bool                // it is left to -full
	subject
}

// outcome is what a fault shows.
type outcome struct {
	state string // of the app, while it lasts; empty: it is not about one
	log   line   // the first that a person should see; empty: none
	new   bool   // what was due came while it lasted
	gone  bool   // the file is not to be seen meanwhile

	lines  int           // that a person should see, while it lasted
	cpu    time.Duration // likewise
	mended time.Duration // after its end, until what was due is there and all is well
}

// everything is an app that writes in every place.
const everything = `apps:
  billing:
    secrets: {db: {secret: db}}
    files: [{template: templates/conf.tmpl, destination: etc/conf}]
    sealed: {path: sealed/copy, key: keys/seal.key}
    notify: [{run: ["true"]}]
audit: {path: audit/log}
`

// app is one without more than a file, and these lines.
func app(lines string) string {
	return "apps: {billing: {secrets: {db: {secret: db}}, files: [{content: '{{ .db }}', destination: etc/conf}], " + lines + "}}\n"
}

// faults are the rows, in the order of the page.
func faults() []fault {
	return slices.Concat(disks(), folders(), limits(), crowds())
}

func disks() []fault {
	return []fault{
		{
			name: "disk full", what: "of state, destination, sealed copy and audit log, which share a small one", subject: secret(),
			prepare: func(s *scene) { s.mount("disk", "size=1m"); s.move("disk", "etc", "state", "sealed", "audit") },
			begin:   func(s *scene) { s.fill("disk/ballast") },
			end:     func(s *scene) { s.remove("disk/ballast") },
		},
		{
			name: "remounted read-only", what: "the file system of the destination", subject: secret(),
			prepare: func(s *scene) { s.mount("etc", "size=1m") },
			begin:   func(s *scene) { s.remount("etc", unix.MS_RDONLY) },
			end:     func(s *scene) { s.remount("etc", 0) },
		},
	}
}

func folders() []fault {
	return []fault{
		{name: "destination's folder away", what: "renamed, and back", subject: secret(), hides: true, begin: away("etc"), end: back("etc")},
		{name: "configuration's folder away", what: "`apps.d` and the folder of the templates renamed, and back", subject: secret(), silent: true, begin: away("apps.d", "templates"), end: back("apps.d", "templates")},
		{
			name: "configuration away at a reload", what: "and then another reload", subject: secret(),
			begin: func(s *scene) { s.rename("outrider.yaml", "outrider.yaml.away"); s.signal(unix.SIGHUP) },
			end:   func(s *scene) { s.rename("outrider.yaml.away", "outrider.yaml"); s.signal(unix.SIGHUP) },
			well:  func(s *scene) bool { return strings.Contains(s.read("log"), "configuration reloaded") },
		},
		{name: "certificate's folder away", what: "renamed, and back", subject: secret(), begin: away("pki"), end: back("pki")},
		{
			name: "certificate's folder removed", what: "and made again, with another certificate", subject: secret(),
			begin: func(s *scene) { s.note(); s.remove("pki") },
			end:   (*scene).renew,
			well:  func(s *scene) bool { return certificate().fresh(s) },
		},
		{
			name: "certificate's folder unmounted", what: "and mounted again", subject: secret(),
			prepare: func(s *scene) { s.rename("pki", "disk"); s.mkdir("pki"); s.bind("disk", "pki") },
			begin:   func(s *scene) { s.unmount("pki") },
			end:     func(s *scene) { s.bind("disk", "pki") },
		},
	}
}

func limits() []fault {
	all := []fault{
		{
			name: "no descriptor left", what: "RLIMIT_NOFILE lowered below what is open", subject: secret(),
			begin: func(s *scene) { s.limit(3) },
			end:   func(s *scene) { s.limit(4096) },
		},
		{
			name: "no inotify instance", what: "EMFILE at inotify_init1 from the start, and a new certificate", subject: certificate(), early: true,
			judge: errs("inotify", unix.EMFILE), well: seesAgain,
		},
		{
			name: "no inotify watch", what: "ENOSPC at inotify_add_watch, and a new certificate", subject: certificate(),
			judge: errs("inotify watch", unix.ENOSPC), well: seesAgain,
		},
	}
	for _, errno := range []unix.Errno{unix.EAGAIN, unix.ENOMEM} {
		for _, c := range []struct{ what, lines string }{
			{"notify", `notify: [{run: ["true"]}]`},
			{"check", `check: ["true"]`},
			{"verify", `verify: [{run: ["true"], on_inconclusive: hold}]`},
			{"confirm", `confirm: {run: ["true"], within: 3s}`},
		} {
			all = append(all, fault{
				name: "no process for " + c.what + ", " + unix.ErrnoName(errno), what: "the answer to clone", subject: secret(), config: app(c.lines), judge: errs("fork", errno),
			})
		}
	}
	return all
}

func crowds() []fault {
	var all []fault
	for _, c := range []struct {
		folder string
		subject
	}{{"pki", certificate()}, {"templates", secret()}, {"etc", secret()}, {"apps.d", secret()}} {
		all = append(all, fault{
			name: "10,000 files in " + c.folder, what: "made while it runs, before a reload, and removed", subject: c.subject, silent: true,
			begin: func(s *scene) { s.crowd(c.folder); s.signal(unix.SIGHUP) },
			end:   func(s *scene) { s.disperse(c.folder) },
		})
	}
	return append(all, fault{
		name: "10,000 templates", what: "of one app, each of which a change makes anew", config: many(), silent: true, slow: true, subject: secret(),
		prepare: func(s *scene) { s.crowd("templates") },
	})
}

// many is an app with many templates.
func many() string {
	var files strings.Builder
	for i := range crowd {
		fmt.Fprintf(&files, "{template: templates/%d, destination: run/%[1]d}, ", i)
	}
	return "apps: {billing: {secrets: {db: {secret: db}}, files: [" + files.String() + "{content: '{{ .db }}', destination: etc/conf}]}}\n"
}

// errs answers all calls of a kind with an error.
func errs(does string, errno unix.Errno) func(call) unix.Errno {
	return func(c call) unix.Errno {
		if c.does == does {
			return errno
		}
		return 0
	}
}

func seesAgain(s *scene) bool { return strings.Contains(s.read("log"), "file events available again") }

func TestEveryFault(t *testing.T) {
	var all seen
	t.Run("rows", func(t *testing.T) {
		for _, f := range faults() {
			if f.slow && !*full && !*update {
				continue
			}
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				out := begun(t, f).live(f, *hold)
				all.note(f.name, out)
				t.Log(out.stable(), "|", out.measured())
			})
		}
	})
	if !t.Failed() || *update {
		compare(t, faultsTitle, &all, func() string { return faultSection(&all) })
	}
}

// begun is a scene with a sidecar that runs, and all is well but for an early
// fault.
func begun(t *testing.T, f fault) *scene {
	t.Helper()
	role, session := "", 12*time.Hour
	switch {
	case f.role:
		role, session = ", credentials_file: {path: home/credentials, profile: default}, token: {file: run/token}", 4*time.Second
	case f.config == "":
		f.config = everything
	}
	s := newScene(t, session, role, f.config)
	if f.prepare != nil {
		f.prepare(s)
	}
	var judge func(call) unix.Errno
	if f.early {
		judge = f.judge
	}
	s.start(judge)
	if _, ok := s.until(func() bool { return s.well() && s.read(f.file) != "" }); !ok {
		t.Fatal("not well, before any fault")
	}
	return s
}

// live lives through a fault: it begins, something new is due, it is held, and
// it ends. All the time, at each of the sidecar's calls, the file must be whole,
// and the old one untouched.
func (s *scene) live(f fault, hold time.Duration) outcome {
	s.t.Helper()
	if f.role {
		s.handedOut()
	}
	log := len(s.read("log"))
	if f.early {
		log = 0
	}
	watch := s.guard(f)
	s.kernel.by(func(c call) unix.Errno {
		watch(c)
		if f.judge == nil {
			return 0
		}
		return f.judge(c)
	})
	spent := s.cpu()
	if f.begin != nil {
		f.begin(s)
	}
	f.due(s)
	shows := func() bool { return len(s.lines(log)) > 0 }
	switch {
	case f.seen != nil:
		shows = func() bool { return f.seen(log) }
	case f.silent:
		shows = func() bool { return f.fresh(s) }
	}
	if _, ok := s.until(shows); !ok {
		s.t.Error("nothing shows")
	}
	s.pass(hold)
	out := s.observe(f, log)
	out.cpu = s.cpu() - spent
	s.kernel.by(func(c call) unix.Errno { watch(c); return 0 })
	if f.end != nil {
		f.end(s)
	}
	var ok bool
	out.mended, ok = s.until(func() bool { return f.fresh(s) && s.well() && (f.well == nil || f.well(s)) })
	s.kernel.by(nil)
	if !ok {
		status, err := s.status()
		s.t.Fatalf("not well within %v of the end: %+v, %v", patience, status, err)
	}
	return out
}

// observe says what is to be seen of a fault, in the log from there on and
// otherwise.
func (s *scene) observe(f fault, log int) outcome {
	status, err := s.status()
	lines := s.lines(log)
	out := outcome{state: string(status.Apps["billing"].State), lines: len(lines), gone: s.read(f.file) == "", new: f.fresh(s)}
	switch {
	case err != nil:
		out.state = "no answer"
	case slices.ContainsFunc(lines, func(l line) bool { return l.Msg == "app failing" }):
		out.state = string(serve.Failing) // perhaps no more
	}
	if len(lines) > 0 {
		out.log = lines[0]
		out.log.Error = strings.ReplaceAll(out.log.Error, s.dir+"/", "")
	}
	if len(lines) > 5 {
		s.t.Errorf("%d lines come of it", len(lines))
	}
	return out
}

// guard returns what fails the test when the file is not whole, or is the old
// one and was touched.
func (s *scene) guard(f fault) func(call) {
	old, before := s.read(f.file), s.trace(f.file)
	var mu sync.Mutex
	failed := false
	return func(c call) {
		mu.Lock()
		defer mu.Unlock()
		text := s.read(f.file)
		switch {
		case failed, f.hides && text == "":
		case text != old && !f.whole(s, text):
			s.t.Errorf("before %s the file is not whole: it has %d bytes", c, len(text))
			failed = true
		case text == old && f.file != "run/token" && !f.hides && s.trace(f.file) != before:
			s.t.Errorf("before %s the file was touched", c)
			failed = true
		}
	}
}

// cpu is the time that the sidecar has computed for.
func (s *scene) cpu() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.c.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	_, numbers, _ := strings.Cut(string(text), ") ") // behind the name
	fields, ticks := strings.Fields(numbers), 0
	for _, field := range fields[11:13] { // utime and stime (proc_pid_stat(5))
		n, err := strconv.Atoi(field)
		if err != nil {
			s.t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
