/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SIGUSR1 tells a program that its RDMA devices are going away: every connection that has an event
 * channel at that time finds one DEVICE_REMOVAL in it (linker option --wrap). Soft devices cannot
 * say it: the kernel takes them away only when no process has them open.
 */
#include <pthread.h>
#include <rdma/rdma_cma.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

#define MAX_CHANNELS 64

static volatile sig_atomic_t nr_removals;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct channel {
	struct rdma_event_channel *cm; /* NULL: free */
	int nr_seen;                   /* removals it was told of, or is younger than */
} channels[MAX_CHANNELS];

static void on_signal(int sig)
{
	(void)sig;
	nr_removals++;
}

static void __attribute__((constructor)) listen_to_signal(void)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

	sigaction(SIGUSR1, &sa, NULL);
}

static struct channel *find(const struct rdma_event_channel *cm)
{
	for (unsigned int i = 0; i < MAX_CHANNELS; i++)
		if (channels[i].cm == cm)
			return &channels[i];
	abort(); /* more than a test has */
}

struct rdma_event_channel *__real_rdma_create_event_channel(void);
struct rdma_event_channel *__wrap_rdma_create_event_channel(void);
void __real_rdma_destroy_event_channel(struct rdma_event_channel *cm);
void __wrap_rdma_destroy_event_channel(struct rdma_event_channel *cm);
int __real_rdma_get_cm_event(struct rdma_event_channel *cm, struct rdma_cm_event **ret_ev);
int __wrap_rdma_get_cm_event(struct rdma_event_channel *cm, struct rdma_cm_event **ret_ev);
int __real_rdma_ack_cm_event(struct rdma_cm_event *ev);
int __wrap_rdma_ack_cm_event(struct rdma_cm_event *ev);

struct rdma_event_channel *__wrap_rdma_create_event_channel(void)
{
	struct rdma_event_channel *cm = __real_rdma_create_event_channel();

	if (!cm)
		return NULL;
	pthread_mutex_lock(&lock);
	*find(NULL) = (struct channel){cm, nr_removals};
	pthread_mutex_unlock(&lock);
	return cm;
}

void __wrap_rdma_destroy_event_channel(struct rdma_event_channel *cm)
{
	pthread_mutex_lock(&lock);
	find(cm)->cm = NULL;
	pthread_mutex_unlock(&lock);
	__real_rdma_destroy_event_channel(cm);
}

static bool is_removal_due(const struct rdma_event_channel *cm)
{
	struct channel *c;
	bool is_due;

	pthread_mutex_lock(&lock);
	c = find(cm);
	is_due = c->nr_seen != nr_removals;
	c->nr_seen = nr_removals;
	pthread_mutex_unlock(&lock);
	return is_due;
}

static struct rdma_cm_event removal = {.event = RDMA_CM_EVENT_DEVICE_REMOVAL};

int __wrap_rdma_get_cm_event(struct rdma_event_channel *cm, struct rdma_cm_event **ret_ev)
{
	if (!is_removal_due(cm))
		return __real_rdma_get_cm_event(cm, ret_ev);
	*ret_ev = &removal;
	return 0;
}

int __wrap_rdma_ack_cm_event(struct rdma_cm_event *ev)
{
	return ev == &removal ? 0 : __real_rdma_ack_cm_event(ev);
}
