/*
 * cores.c - how many physical cores this process may use
 *
 * Matrix work is bound by memory and by vector units, which the hardware threads of a core
 * share: a second thread on a core only takes cache from the first.
 *
 * Source: Linux, Documentation/admin-guide/cputopology.rst and cgroup-v2.rst (cpu.max).
 */
#define _GNU_SOURCE /* sched_getaffinity */
#include "base/cores.h"

#include <sched.h>
#include <stdio.h>

/* The first processor of the core that `cpu` belongs to; `cpu` itself when nobody says. */
static size_t first_sibling(size_t cpu)
{
    char path[96];
    size_t first = cpu;
    FILE *f;

    snprintf(path, sizeof(path),
             "/sys/devices/system/cpu/cpu%zu/topology/thread_siblings_list", cpu);
    f = fopen(path, "re");
    if (!f)
        return cpu;
    if (fscanf(f, "%zu", &first) != 1 || first > cpu)
        first = cpu;
    fclose(f);
    return first;
}

/* Whole processors' worth of time the control group grants, rounded up; 0: no limit. */
static int quota(void)
{
    long long micros, period;
    int cpus = 0;
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");

    if (!f)
        return 0;
    if (fscanf(f, "%lld %lld", &micros, &period) == 2 && micros > 0 && period > 0 &&
        micros / period < CPU_SETSIZE)
        cpus = (int)((micros + period - 1) / period);
    fclose(f);
    return cpus;
}

int cores_usable(void)
{
    cpu_set_t allowed, cores;
    int count, limit = quota();

    CPU_ZERO(&allowed);
    CPU_ZERO(&cores);
    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
        return 1;
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed))
            CPU_SET(first_sibling(cpu), &cores);
    count = CPU_COUNT(&cores);
    if (limit > 0 && count > limit)
        count = limit;
    return count > 0 ? count : 1;
}
