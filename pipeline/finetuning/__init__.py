"""Fine-tuning a trained model for a task: files to rows, rows to batches, and how good the result is.

reading     rows of JSONL, CSV, TSV, Parquet, CoNLL and SQuAD files
splits      what is held out where no file is             prepared    rows and features of a stage
order       which rows a step has, by length and share    batches     a training's data
inference   predictions of a model                        intervals   how sure a figure is
results     what a finished stage says                    report      and its part of the report
"""
