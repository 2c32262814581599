/* The yardstick in C: one broker, some gateways, rooms whose members are spread over them, and nothing else.

The same fan-out as that of the engines, with the same floats: what it writes for each delivery is what they write. An
event loop on a binary heap by (time, number), a queue per station, one item per tick. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

enum { MESSAGE, UPLINK, PACKET, DONE, DELIVERED };

typedef struct { double time_s; uint64_t number; int32_t kind, one, two, three; } Event;
typedef struct { int32_t message, pushed, next; } Job;
typedef struct { int32_t first, last, busy, job; } Station;
typedef struct { double link_s, rate, uplink_s, downlink_s, drained_s; int32_t user, gateway, online; } Session;
typedef struct { int32_t message, session; double written_s, time_s; } Row;

typedef struct {
    int32_t gateways, messages, sessions;
    double receive_us, parse_us, write_us, publish_us, push_us, hop_s, end_s;
    const double *time_s, *uplink, *factor, *link_s, *rate;
    const int32_t *sender, *room, *size_bytes, *place_first, *place_session, *place_position;
    const int64_t *offset;
    double *received_s, *routed_s, *done_s;
    int32_t *under_way;
    Row *rows;
    int64_t count;
} World;

static Event *heap;
static int64_t heap_count, heap_room;
static uint64_t number;
static Job *jobs;
static int32_t job_count, job_room, job_free;

static void at(const World *w, double time_s, int32_t kind, int32_t one, int32_t two, int32_t three) {
    if (time_s >= w->end_s) return;
    if (heap_count == heap_room) heap = realloc(heap, (heap_room *= 2) * sizeof(Event));
    int64_t place = heap_count++;
    while (place > 0 && heap[(place - 1) / 2].time_s > time_s) {
        heap[place] = heap[(place - 1) / 2];
        place = (place - 1) / 2;
    }
    heap[place] = (Event){time_s, ++number, kind, one, two, three};
}

static int before(const Event *a, const Event *b) {
    return a->time_s < b->time_s || (a->time_s == b->time_s && a->number < b->number);
}

static Event first(void) {
    Event found = heap[0], last = heap[--heap_count];
    int64_t place = 0;
    for (;;) {
        int64_t below = 2 * place + 1;
        if (below >= heap_count) break;
        if (below + 1 < heap_count && before(&heap[below + 1], &heap[below])) below++;
        if (before(&last, &heap[below])) break;
        heap[place] = heap[below];
        place = below;
    }
    heap[place] = last;
    return found;
}

static int32_t new_job(int32_t message, int32_t pushed) {
    int32_t job = job_free;
    if (job >= 0) job_free = jobs[job].next;
    else {
        if (job_count == job_room) jobs = realloc(jobs, (job_room *= 2) * sizeof(Job));
        job = job_count++;
    }
    jobs[job] = (Job){message, pushed, -1};
    return job;
}

static double write_all(World *w, Session *sessions, int32_t station, int32_t message, double start_s) {
    int32_t place = w->room[message] * w->gateways + station;
    double left_us = w->parse_us;
    int32_t targets = 0;
    for (int32_t seat = w->place_first[place]; seat < w->place_first[place + 1]; seat++) {
        Session *to = &sessions[w->place_session[seat]];
        if (to->user == w->sender[message]) continue;
        left_us += w->write_us;
        double leaves_s = start_s + left_us * 1e-6;
        to->drained_s = (to->drained_s > leaves_s ? to->drained_s : leaves_s) + w->size_bytes[message] / to->rate;
        double comes_s = to->drained_s + to->link_s * w->factor[w->offset[message] + w->place_position[seat]];
        if (comes_s > to->downlink_s) to->downlink_s = comes_s;
        w->rows[w->count] = (Row){message, w->place_session[seat], leaves_s, NAN};
        at(w, to->downlink_s, DELIVERED, w->place_session[seat], (int32_t)w->count++, 0);
        targets++;
    }
    return w->parse_us + w->write_us * targets;
}

static void turn(World *w, Station *stations, Session *sessions, int32_t station, double now_s) {
    Station *home = &stations[station];
    int32_t job = home->job = home->first;
    home->first = jobs[job].next;
    home->busy = 1;
    double cost_us = w->receive_us;
    if (station == w->gateways) cost_us = w->publish_us + w->push_us * w->gateways;
    else if (jobs[job].pushed) cost_us = write_all(w, sessions, station, jobs[job].message, now_s);
    at(w, now_s + cost_us * 1e-6, DONE, station, 0, 0);
}

static void take(World *w, Station *stations, Session *sessions, int32_t station, int32_t job, double now_s) {
    Station *home = &stations[station];
    if (home->first >= 0) jobs[home->last].next = job;
    else home->first = job;
    home->last = job;
    if (!home->busy) turn(w, stations, sessions, station, now_s);
}

static void carried(World *w, int32_t message, double now_s) {
    if (--w->under_way[message] == 0) w->done_s[message] = now_s;
}

static void done(World *w, Station *stations, Session *sessions, int32_t station, double now_s) {
    int32_t job = stations[station].job, message = jobs[job].message;
    if (station == w->gateways) {
        for (int32_t gateway = 0; gateway < w->gateways; gateway++) {
            w->under_way[message]++;
            at(w, now_s + w->hop_s, PACKET, gateway, new_job(message, 1), 0);
        }
        carried(w, message, now_s);
    } else if (jobs[job].pushed) {
        carried(w, message, now_s);
    } else {
        w->received_s[message] = w->routed_s[message] = now_s;
        at(w, now_s + w->hop_s, PACKET, w->gateways, new_job(message, 0), 0);
    }
    jobs[job].next = job_free;
    job_free = job;
    stations[station].busy = 0;
    if (stations[station].first >= 0) turn(w, stations, sessions, station, now_s);
}

int64_t run(World *w) {
    heap_room = job_room = 1024;
    heap = malloc(heap_room * sizeof(Event));
    jobs = malloc(job_room * sizeof(Job));
    heap_count = number = job_count = 0;
    job_free = -1;
    Station *stations = malloc((w->gateways + 1) * sizeof(Station));
    for (int32_t station = 0; station <= w->gateways; station++) stations[station] = (Station){-1, -1, 0, -1};
    Session *sessions = malloc(w->sessions * sizeof(Session));
    for (int32_t n = 0; n < w->sessions; n++)
        sessions[n] = (Session){w->link_s[n], w->rate[n], 0, 0, 0, n, n % w->gateways, 1};
    if (w->messages) at(w, w->time_s[0], MESSAGE, 0, 0, 0);
    while (heap_count) {
        Event event = first();
        if (event.kind == DELIVERED) {
            if (sessions[event.one].online) w->rows[event.two].time_s = event.time_s;
        } else if (event.kind == MESSAGE) {
            int32_t message = event.one;
            Session *from = &sessions[w->sender[message]];
            double comes_s = event.time_s + from->link_s * w->uplink[message];
            if (comes_s > from->uplink_s) from->uplink_s = comes_s;
            at(w, from->uplink_s, UPLINK, message, 0, 0);
            if (message + 1 < w->messages) at(w, w->time_s[message + 1], MESSAGE, message + 1, 0, 0);
        } else if (event.kind == UPLINK) {
            w->under_way[event.one]++;
            take(w, stations, sessions, sessions[w->sender[event.one]].gateway, new_job(event.one, 0), event.time_s);
        } else if (event.kind == PACKET) {
            take(w, stations, sessions, event.one, event.two, event.time_s);
        } else {
            done(w, stations, sessions, event.one, event.time_s);
        }
    }
    free(heap), free(jobs), free(stations), free(sessions);
    return w->count;
}
