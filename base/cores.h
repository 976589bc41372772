/*
 * cores.h - how many physical cores this process may use
 */
#ifndef BASE_CORES_H
#define BASE_CORES_H

/* At least 1: the distinct physical cores among the processors that the scheduler's affinity
 * allows (two hardware threads of one core count once), and no more than a control group's
 * CPU quota, rounded up. */
int cores_usable(void);

#endif
