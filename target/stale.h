/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Control sockets that killed targets have left behind. A second target's has its process id in its
 * name (target/control.h), so no later one takes its place.
 */
#ifndef TARGET_STALE_H
#define TARGET_STALE_H

/*
 * Removes from dir every socket named target-PID.sock where nobody answers and no process has that
 * number; nothing else. Returns how many. Takes the lock on dir that targets hold while they bind;
 * when somebody has it: 0, the next one will look.
 */
unsigned int stale_sweep(const char *dir);

#endif
