/* Covering arrays: few rows in which every pair of values of any two factors occurs. */
#ifndef GATUN_TESTS_PAIRWISE_H
#define GATUN_TESTS_PAIRWISE_H

#include <stdint.h>

#define MAX_FACTORS 10
#define MAX_VALUES  32

typedef struct factors {
    int count;
    int values[MAX_FACTORS]; /* number of values of each factor */
    /* Cost of a row in which -1 stands for the cheapest value. */
    int64_t (*cost)(const int row[MAX_FACTORS]);
    /* A row should cost no more than this, except where a pair alone costs more. */
    int64_t budget;
} factors;

/* Stores the rows in an array that the caller frees, and returns their number. The same for the same factors. */
int64_t pairwise_rows(const factors *f, int (**rows)[MAX_FACTORS]);

#endif
