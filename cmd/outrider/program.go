package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// program is a process that the demo started. Both its outputs go to a file.
type program struct {
	cmd     *exec.Cmd
	logFile string
	ended   chan struct{}
}

// start runs this very executable as another process, in dir.
func start(ctx context.Context, dir, logFile string, args ...string) (*program, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	p := &program{cmd: exec.CommandContext(ctx, self, args...), logFile: filepath.Join(dir, logFile), ended: make(chan struct{})}
	log, err := os.OpenFile(p.logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, log, log
	// A terminal's Ctrl-C is for the demo, which then stops the others.
	p.cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(unix.SIGTERM) }
	p.cmd.WaitDelay = 5 * time.Second
	err = p.cmd.Start()
	if closing := log.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // that it ended is all that the demo asks
	}()
	return p, nil
}

func (p *program) pid() int { return p.cmd.Process.Pid }

func (p *program) alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

func (p *program) stop() {
	_ = p.cmd.Process.Signal(unix.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// log returns all that the program has said.
func (p *program) log() string {
	text, err := os.ReadFile(p.logFile)
	if err != nil && !errors.Is(err, io.EOF) {
		return err.Error()
	}
	return string(text)
}

// says waits until the last line that the program said is line.
func (p *program) says(ctx context.Context, line string) error {
	for {
		if text := strings.TrimSpace(p.log()); text == line || strings.HasSuffix(text, "\n"+line) {
			return nil
		}
		select {
		case <-time.After(time.Millisecond):
		case <-p.ended:
			return fmt.Errorf("the program has ended: %s", p.log())
		case <-ctx.Done():
			return fmt.Errorf("the program does not have %s in time", line)
		}
	}
}
