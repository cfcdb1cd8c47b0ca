"""What models are fine-tuned for, a file a task: its columns, batches, head, loss, predictions and measures.

task            what every task is                    registry    the tasks by name
rows, framing   rows of files, what a model reads     heads       layers behind the last block
texts           what tasks about texts have in common
classification, regression, tagging, answers (extractive), choice, text (text to text)
measures        statistics of rows that add up        words       baselines that count words
saved           the file in a run's folder that says what it was tuned for
"""
