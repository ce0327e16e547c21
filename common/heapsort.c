/* Heapsort over indexes, counted from 1: build the heap from the last parent down, then move its root to the end, again
 * and again. Which of two equal elements comes first follows from these very steps: a child is chosen, and an element
 * moved up, only where it is strictly greater. */
#include "common/heapsort.h"

#include <stdbool.h>

static bool is_less(float a, float b) {
    return a < b || (b != b && a == a);
}

/* The heap's place 1 is heap[0], and the children of place p are 2p and 2p + 1. Puts index `moved` into places 1..n, of
 * which `hole` is free and the subtrees below it are heaps. */
static void sift_down(const float *x, uint32_t *heap, uint64_t hole, uint64_t n, uint32_t moved) {
    for (uint64_t child = 2 * hole; child <= n; child *= 2) {
        if (child < n && is_less(x[heap[child - 1]], x[heap[child]]))
            child++;
        if (!is_less(x[moved], x[heap[child - 1]]))
            break;
        heap[hole - 1] = heap[child - 1];
        hole = child;
    }
    heap[hole - 1] = moved;
}

void heapsort_order(const float *x, uint32_t n, uint32_t *order) {
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    for (uint64_t parent = n / 2; parent > 0; parent--)
        sift_down(x, order, parent, n, order[parent - 1]);
    for (uint64_t last = n; last > 1; last--) {
        uint32_t moved = order[last - 1];
        order[last - 1] = order[0];
        sift_down(x, order, 1, last - 1, moved);
    }
}
