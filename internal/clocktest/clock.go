// Package clocktest starts programs whose clocks a test sets while they run.
package clocktest

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// Clock is the clocks of one process, which go as the machine's do until they
// are stepped. No other process's are touched, its children's included.
type Clock struct {
	memory *os.File
	at     uint64 // where the two offsets are, in whole seconds
	set    [2]int64
}

// Step sets the process's clocks forward, or back when negative, in whole
// seconds: the wall clock as an administrator or NTP does, both as they are
// after a process was stopped, and the wall clock alone as it is after the
// machine was suspended. The monotonic one must not go back.
func (c *Clock) Step(t *testing.T, wall, monotonic time.Duration) {
	t.Helper()
	for i, by := range []time.Duration{wall, monotonic} {
		c.set[i] += int64(by / time.Second)
		var word [8]byte
		binary.NativeEndian.PutUint64(word[:], uint64(c.set[i]))
		if _, err := c.memory.WriteAt(word[:], int64(c.at)+int64(8*i)); err != nil {
			t.Fatalf("set the clock: %v", err)
		}
	}
}

// Start starts a program and returns its clocks, in which the wall clock is
// off by so much from its first instruction on. The test is skipped where that
// cannot be done.
//
// Go programs ask the time of the vDSO, code that the kernel maps into each
// process, and not of the C library, which is why a preloaded one cannot
// deceive them. That code is private to the process; here it is replaced by a
// system call to which offsets are added that stand beside it.
func Start(t *testing.T, cmd *exec.Cmd, wall time.Duration) *Clock {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("left out: the code in place of the vDSO's is amd64's")
	}
	// Who traces is a thread. It has the program stopped before its first
	// instruction.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Ptrace = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c, err := takeOver(cmd.Process.Pid)
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Fatalf("take over the clocks: %v", err)
	}
	t.Cleanup(func() { _ = c.memory.Close() })
	c.Step(t, wall, 0)
	if err := syscall.PtraceDetach(cmd.Process.Pid); err != nil {
		t.Fatalf("let it run: %v", err)
	}
	return c
}

// inside is set in the environment of the process that Inside starts.
const inside = "CLOCKTEST_INSIDE"

// Inside runs f in a process of its own, whose clocks are its to set. It calls
// the whole test a second time there; f's failures are the test's.
func Inside(t *testing.T, f func(c *Clock)) {
	t.Helper()
	if os.Getenv(inside) != "" {
		c, err := open(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		defer c.memory.Close()
		f(c)
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // the process's own clock says nothing
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.timeout=0")
	cmd.Env = append(os.Environ(), inside+"=1")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	Start(t, cmd, 0)
	if err := cmd.Wait(); err != nil {
		t.Errorf("with clocks of its own: %v\n%s", err, said.String())
	}
}

func takeOver(pid int) (*Clock, error) {
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
		return nil, err
	}
	if !status.Stopped() {
		return nil, fmt.Errorf("it is not stopped, but %x", status)
	}
	c, err := open(pid)
	if err != nil {
		return nil, err
	}
	_, err = c.memory.WriteAt(code(), int64(c.at)-codeSize)
	return c, err
}

// codeSize is where the offsets begin.
const codeSize = 32

// code is clock_gettime(id, out) in machine code.
func code() []byte {
	return []byte{
		0xb8, 0xe4, 0, 0, 0, // mov eax, SYS_clock_gettime
		0x0f, 0x05, // syscall
		0x83, 0xff, 0x01, // cmp edi, CLOCK_MONOTONIC
		0x77, 0x10, // ja end: neither of the two
		0x89, 0xff, // mov edi, edi
		0x48, 0x8d, 0x0d, 0x0b, 0, 0, 0, // lea rcx, [offsets]
		0x48, 0x8b, 0x0c, 0xf9, // mov rcx, [rcx+8*rdi]
		0x48, 0x01, 0x0e, // add [rsi], rcx
		0xc3, // end: ret
	}
}

// open finds a process's clocks.
func open(pid int) (*Clock, error) {
	auxv, err := os.ReadFile(fmt.Sprintf("/proc/%d/auxv", pid))
	if err != nil {
		return nil, err
	}
	const sysinfo = 33 // AT_SYSINFO_EHDR
	var base uint64
	for ; len(auxv) >= 16; auxv = auxv[16:] {
		if binary.NativeEndian.Uint64(auxv) == sysinfo {
			base = binary.NativeEndian.Uint64(auxv[8:])
		}
	}
	if base == 0 {
		return nil, errors.New("there is no vDSO")
	}
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	c := &Clock{memory: memory}
	if c.at, err = c.find(base, "__vdso_clock_gettime"); err != nil {
		_ = memory.Close()
		return nil, err
	}
	c.at += codeSize
	return c, nil
}

// find returns the address of a function in the vDSO at base.
func (c *Clock) find(base uint64, name string) (uint64, error) {
	image, err := elf.NewFile(section{c.memory, base})
	if err != nil {
		return 0, err
	}
	symbols, err := image.DynamicSymbols()
	if err != nil {
		return 0, err
	}
	for _, s := range symbols {
		if s.Name == name && s.Size >= codeSize+16 {
			return base + s.Value, nil
		}
	}
	return 0, fmt.Errorf("the vDSO has no %s with room for %d bytes", name, codeSize+16)
}

// section is a part of a process's memory.
type section struct {
	memory *os.File
	base   uint64
}

// ReadAt implements io.ReaderAt.
func (s section) ReadAt(p []byte, off int64) (int, error) {
	return s.memory.ReadAt(p, int64(s.base)+off)
}
