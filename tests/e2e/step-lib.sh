# shellcheck shell=bash
#
# step-lib.sh - for tests that lead a session step by step (brp-step); sourced instead of lib.sh.

# shellcheck source=tests/e2e/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

brp_step=$BRP_BUILD/tests/e2e/brp-step
step_pid=
asked=
answer=

# open_steps: a session with the volume "disk"; its number is $step_session, if that is set.
open_steps() {
	asked=
	rm -f "$tmp/steps"
	mkfifo "$tmp/steps"
	exec {step_out}> >(exec "$brp_step" "$target_uri/disk" ${step_session:+"$step_session"} >"$tmp/steps" 2>"$tmp/step.log")
	step_pid=$!
	children+=("$step_pid")
	exec {step_in}<"$tmp/steps"
	answered ready
}

# Not by the end of its input: a target that was started meanwhile has the pipe open too.
close_steps() {
	ask quit
	exec {step_out}>&- {step_in}<&-
	wait "$step_pid" 2>/dev/null || true
}

# Whatever it does at the moment.
kill_steps() {
	kill -KILL "$step_pid"
	exec {step_out}>&- {step_in}<&-
	wait "$step_pid" 2>/dev/null || true
}

# ask COMMAND...: without waiting for the answer.
ask() {
	asked="$*"
	echo "$*" >&"$step_out"
}

# answered ERE: to what was asked last; the answer is in $answer.
answered() {
	IFS= read -r -t 40 answer <&"$step_in" || {
		cat "$tmp/step.log"
		bad "'${asked:-connect}' is not answered"
	}
	[[ $answer =~ ^$1$ ]] || bad "'${asked:-connect}' is answered '$answer', must be '$1'"
}

# expect ERE COMMAND...
expect() {
	ask "${@:2}"
	answered "$1"
}
